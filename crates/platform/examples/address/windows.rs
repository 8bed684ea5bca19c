//! ```text
//! address links | addresses | gateways
//! address mount INTERFACE ADDRESS/LENGTH SECONDS HOLD    unmounted after HOLD seconds; SECONDS 0 = for ever
//! address unmount INTERFACE ADDRESS/LENGTH
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use vipdrift_platform::addresses::{Kernel, Mount};
use vipdrift_platform::links::find;

type Outcome = Result<(), Box<dyn std::error::Error>>;

pub(super) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Outcome {
    let mut kernel = Kernel::open()?;
    match words {
        ["links"] => kernel.links()?.iter().for_each(|link| println!("{link:?}")),
        ["addresses"] => kernel.addresses()?.iter().for_each(|address| println!("{address:?}")),
        ["gateways"] => kernel.gateways()?.iter().for_each(|gateway| println!("{gateway:?}")),
        ["mount", interface, network, seconds, hold] => {
            let lease = Some(Duration::from_secs(seconds.parse()?)).filter(|lease| !lease.is_zero());
            let interface = index(&mut kernel, interface)?;
            let mount =
                Mount { interface, network: network.parse()?, lease, as_source: false, prefix_route: false };
            let begun = Instant::now();
            one(kernel.mount(std::slice::from_ref(&mount)))?;
            println!("mounted in {:?}", begun.elapsed());
            let until = begun + Duration::from_secs(hold.parse()?);
            while Instant::now() < until {
                std::thread::sleep(Duration::from_millis(250));
                println!("listed: {:?}", kernel.addresses()?.iter().find(|a| a.network == mount.network));
                if lease.is_some() && begun.elapsed().as_millis() % 1_000 < 250 {
                    one(kernel.mount(std::slice::from_ref(&mount)))?;
                }
            }
            let begun = Instant::now();
            one(kernel.unmount(&[(interface, mount.network)]))?;
            println!("unmounted in {:?}", begun.elapsed());
        }
        ["unmount", interface, network] => {
            let interface = index(&mut kernel, interface)?;
            one(kernel.unmount(&[(interface, network.parse()?)]))?;
            println!("unmounted");
        }
        _ => return Err("see the head of the source for what can be said".into()),
    }
    Ok(())
}

fn index(kernel: &mut Kernel, name: &str) -> Result<u32, Box<dyn std::error::Error>> {
    if let Ok(index) = name.parse() {
        return Ok(index);
    }
    let links = kernel.links()?;
    Ok(find(&links, name)?.ok_or("no such interface")?.index)
}

fn one<E: std::error::Error + 'static>(results: Vec<Result<(), E>>) -> Outcome {
    Ok(results.into_iter().collect::<Result<(), E>>()?)
}
