//! Is a systemd unit active? Told by systemd over its bus (org.freedesktop.systemd1(5)) the moment it changes.

use futures_util::StreamExt as _;
use zbus::fdo::{PropertiesChangedStream, PropertiesProxy};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, proxy};

use crate::check::Managed;
use crate::output::Outcome;

/// The name that counts on this system.
///
/// # Errors
/// In a line: there is none.
pub(crate) fn name(managed: &Managed) -> Result<&str, String> {
    managed.unit.as_deref().ok_or_else(|| "no `unit` is named, and this is Linux".to_owned())
}

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn subscribe(&self) -> zbus::Result<()>;
}

#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn sub_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
}

/// A unit that is watched.
#[derive(Default)]
pub(crate) struct Watched {
    link: Option<Link>,
}

struct Link {
    unit: UnitProxy<'static>,
    changes: PropertiesChangedStream,
}

impl Watched {
    pub(crate) async fn look(&mut self, name: &str) -> Outcome {
        match self.ask(name).await {
            Ok(outcome) => outcome,
            Err(error) => {
                // A new connection is made at the next look.
                self.link = None;
                Outcome::bad(format!("cannot ask systemd about {name}: {error}"))
            }
        }
    }

    async fn ask(&mut self, name: &str) -> zbus::Result<Outcome> {
        if self.link.is_none() {
            self.link = Some(open(name).await?);
        }
        let Some(Link { unit, .. }) = &self.link else { return Err(zbus::Error::InvalidReply) };
        let (active, sub) = (unit.active_state().await?, unit.sub_state().await?);
        if active == "active" || active == "reloading" {
            return Ok(Outcome::good(format!("{name} is {active} ({sub})")));
        }
        if unit.load_state().await? == "not-found" {
            return Ok(Outcome::bad(format!("there is no unit {name}")));
        }
        Ok(Outcome::bad(format!("{name} is {active} ({sub})")))
    }

    /// Waits until something changes; for ever if nothing is watched.
    pub(crate) async fn changed(&mut self) {
        match &mut self.link {
            None => std::future::pending().await,
            Some(link) => {
                if link.changes.next().await.is_none() {
                    self.link = None;
                }
            }
        }
    }
}

async fn open(name: &str) -> zbus::Result<Link> {
    let connection = Connection::system().await?;
    let manager = ManagerProxy::new(&connection).await?;
    // Without it systemd tells of changes to those who are on its own private socket only.
    manager.subscribe().await?;
    let path = manager.load_unit(name).await?;
    // Each look asks anew: a change that was not heard must not be believed in for ever.
    let unit = UnitProxy::builder(&connection)
        .path(path.clone())
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let properties = PropertiesProxy::builder(&connection)
        .destination("org.freedesktop.systemd1")
        .path(path)
        .build()
        .await?;
    let changes = properties.receive_properties_changed().await?;
    Ok(Link { unit, changes })
}
