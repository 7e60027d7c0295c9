//! A headless Chromium, driven through its own protocol over two pipes: no port, no driver program.
//! Source: "Chrome DevTools Protocol"; `--remote-debugging-pipe` reads descriptor 3, writes 4, NUL-terminated.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Programs that will do, best first.
const PROGRAMS: [&str; 4] = ["chromium-headless-shell", "chromium", "google-chrome", "chrome"];

/// One browser with one page.
pub struct Chromium {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    loaded: bool,
    /// Exceptions and violations of the page's policy.
    pub complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts it with an empty page.
    pub fn start() -> Self {
        let found = |name: &&&str| {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&paths).any(|dir| dir.join(name).is_file())
        };
        let program = PROGRAMS.iter().find(found).expect("needs chromium-headless-shell or chromium");
        let profile = tempfile::tempdir().unwrap();
        // `timeout`: a browser that hangs is ended, and fails the test. Half an hour: a test takes seconds, and minutes on
        // a busy machine.
        let mut child = Command::new("sh")
            .args(["-c", "exec timeout 1800 \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", program])
            // In a container there is no other user to give the sandbox to; only our own page is opened.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Self {
            child,
            input,
            output,
            session: None,
            calls: 0,
            loaded: false,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        // In the page's own processor time: what else the machine does is no figure of ours.
        browser.call("Performance.enable", json!({"timeDomain": "threadTicks"}));
        browser
    }

    /// Processor time of the page's thread so far, milliseconds.
    pub fn busy_ms(&mut self) -> f64 {
        let metrics = self.call("Performance.getMetrics", json!({}));
        let mut metrics = metrics["metrics"].as_array().unwrap().iter();
        let busy = metrics.find(|metric| metric["name"] == "TaskDuration").unwrap();
        busy["value"].as_f64().unwrap() * 1e3
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.output.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser went away");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        match message["method"].as_str() {
            Some("Page.loadEventFired") => self.loaded = true,
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(message["params"]["exceptionDetails"].to_string())
            }
            Some("Log.entryAdded") => self.complaints.push(message["params"]["entry"]["text"].to_string()),
            _ => {}
        }
        message
    }

    /// Calls a method and waits for its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self.read();
            if answer["id"] == self.calls {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Opens a file and waits until it is loaded.
    pub fn open(&mut self, path: &Path) {
        self.loaded = false;
        self.call("Page.navigate", json!({"url": format!("file://{}", path.display())}));
        while !self.loaded {
            self.read();
        }
    }

    /// The value of an expression; a promise is awaited.
    pub fn eval(&mut self, expression: &str) -> Value {
        let arguments = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", arguments);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until what was asked for is drawn.
    pub fn frame(&mut self) {
        self.eval("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
    }

    /// Presses and releases a key; `shift` is held meanwhile.
    pub fn key(&mut self, key: &str, shift: bool) {
        let text = if key.chars().count() == 1 {
            key
        } else if key == "Enter" {
            "\r"
        } else {
            ""
        };
        let modifiers = if shift { 8 } else { 0 };
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let code = if key == "Enter" { 13 } else { 0 };
        for kind in [down, "keyUp"] {
            let text = if kind == "keyUp" { "" } else { text };
            let event = json!({"type": kind, "key": key, "text": text, "modifiers": modifiers, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event);
        }
        self.frame();
    }

    /// Types text into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
        self.frame();
    }

    /// A mouse event: `mouseMoved`, `mousePressed`, `mouseReleased`.
    pub fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let (button, buttons) = if kind == "mouseReleased" { ("left", 0) } else { ("left", 1) };
        let (button, buttons) = if kind == "mouseMoved" { ("none", buttons) } else { (button, buttons) };
        self.call(
            "Input.dispatchMouseEvent",
            json!({"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1}),
        );
    }

    /// Turns the wheel; `control` is held meanwhile.
    pub fn wheel(&mut self, x: f64, y: f64, by: f64, control: bool) {
        let modifiers = if control { 2 } else { 0 };
        self.call(
            "Input.dispatchMouseEvent",
            json!({"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": by, "modifiers": modifiers}),
        );
        self.frame();
    }

    /// Size of the page in CSS pixels, medium (`screen`, `print`) and colour scheme (`light`, `dark`).
    pub fn show_as(&mut self, width: u32, height: u32, medium: &str, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": medium, "features": features}));
    }

    /// Writes what is in sight, as WebP or PNG by the file's name.
    pub fn screenshot(&mut self, path: &Path) {
        self.frame();
        let webp = path.extension().is_some_and(|extension| extension == "webp");
        let options = if webp { json!({"format": "webp", "quality": 82}) } else { json!({"format": "png"}) };
        let picture = self.call("Page.captureScreenshot", options);
        fs::write(path, STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.input.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.child.wait();
    }
}
