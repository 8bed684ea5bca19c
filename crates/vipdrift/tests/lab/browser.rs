//! A real browser on a host of the lab: Chromium without a screen, led by chromedriver (W3C WebDriver).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use vipdrift_lab::{Host, Process};

/// Where chromedriver listens, on its host only.
const DRIVER: &str = "http://127.0.0.1:9515";
/// What it takes to start a browser on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Browser<'h> {
    host: &'h Host,
    _driver: Process,
    session: String,
    /// Pictures go there, if anybody wants them.
    pictures: Option<PathBuf>,
}

impl<'h> Browser<'h> {
    /// Starts one that keeps its files in `folder`. Pictures are kept in the folder named by `VIPDRIFT_PICTURES`.
    pub(crate) fn start(host: &'h Host, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut command = Command::new("chromedriver");
        command.args(["--port=9515", "--allowed-ips=127.0.0.1"]).env("HOME", folder).env("TMPDIR", folder);
        let driver = host
            .spawn(command)
            .unwrap_or_else(|error| panic!("chromedriver: {error}; apt-get install -y chromium-driver"));
        let mut browser = Self {
            host,
            _driver: driver,
            session: String::new(),
            pictures: std::env::var_os("VIPDRIFT_PICTURES").map(PathBuf::from),
        };
        let until = Instant::now() + PATIENCE;
        while !browser.try_ask("GET", "/status", &Value::Null).is_ok_and(|said| said["ready"] == true) {
            assert!(Instant::now() < until, "chromedriver does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
        // In a namespace of a host, as root there: Chromium's own sandbox is for pages that nobody knows.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--window-size=1180,1400",
            "--hide-scrollbars",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments, "binary": chromium()},
        }}});
        let made = browser.ask("POST", "/session", &wanted);
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    pub(crate) fn open(&self, url: &str) {
        self.within("POST", "/url", &json!({ "url": url }));
    }

    /// Runs a script in the page, and answers what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.within("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until this is true in the page.
    pub(crate) fn wait(&self, condition: &str) {
        let until = Instant::now() + PATIENCE / 2;
        while self.run(&format!("return Boolean({condition})")) != true {
            assert!(
                Instant::now() < until,
                "not seen: {condition}\n{}\n{:?}",
                self.run("return document.body.innerText + ' focus: ' + document.activeElement?.outerHTML"),
                self.console()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types where the page has its focus.
    pub(crate) fn keys(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        self.within(
            "POST",
            "/actions",
            &json!({"actions": [{"type": "key", "id": "keys", "actions": strokes}]}),
        );
    }

    pub(crate) fn dark(&self) {
        let feature = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        self.chromium("Emulation.setEmulatedMedia", &json!({ "features": feature }));
    }

    pub(crate) fn phone(&self) {
        let screen = json!({"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true});
        self.chromium("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Keeps a picture of the page: all of it, or what a screen shows.
    pub(crate) fn shot(&self, name: &str, whole: bool) {
        let Some(folder) = &self.pictures else { return };
        // What has just changed is marked for a moment.
        self.wait("document.getAnimations().length === 0");
        let wanted = json!({"format": "png", "captureBeyondViewport": whole});
        let shot = self.chromium("Page.captureScreenshot", &wanted);
        std::fs::create_dir_all(folder).unwrap();
        let encoded = folder.join("picture.base64");
        std::fs::write(&encoded, shot["data"].as_str().unwrap()).unwrap();
        let picture = std::fs::File::create(folder.join(format!("{name}.png"))).unwrap();
        assert!(Command::new("base64").arg("-d").arg(&encoded).stdout(picture).status().unwrap().success());
        std::fs::remove_file(encoded).unwrap();
    }

    /// What the page has put on the console, and what the browser complained of.
    pub(crate) fn console(&self) -> Vec<String> {
        let lines = self.within("POST", "/se/log", &json!({"type": "browser"}));
        lines
            .as_array()
            .unwrap()
            .iter()
            .map(|line| format!("{} {}", line["level"], line["message"]))
            .collect()
    }

    fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.within("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn within(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.host.run(|| {
            let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
            let agent = config.build().new_agent();
            let url = format!("{DRIVER}{path}");
            let answer = match method {
                "GET" => agent.get(url).call(),
                "DELETE" => agent.delete(url).call(),
                _ => agent.post(url).header("content-type", "application/json").send(&body.to_string()),
            };
            let mut answer = answer.map_err(|error| error.to_string())?;
            let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
            let mut said: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
            if answer.status() != 200 {
                return Err(text);
            }
            Ok(said["value"].take())
        })
    }
}

/// The browser, installed or unpacked.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("chromium is missing; apt-get install -y chromium"))
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.try_ask("DELETE", &self.session, &Value::Null);
        }
    }
}
