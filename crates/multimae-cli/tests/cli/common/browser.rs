//! A headless browser, spoken to by its DevTools protocol.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// The longest that anything in the browser may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page of a browser that ends with it.
pub(crate) struct Browser {
    process: Child,
    socket: WebSocket<TcpStream>,
    number: u64,
    _folder: tempfile::TempDir,
}

/// The browser's program, where one is installed.
pub(crate) fn installed() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |dir| dir.join(name)))
        .find(|p| p.is_file())
}

impl Browser {
    /// Opens an address in a window of that size.
    pub(crate) fn open(program: &PathBuf, address: &str, (width, height): (u32, u32)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .args(["--remote-debugging-port=0", "--remote-allow-origins=*", "--no-first-run"])
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg(address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = wait_for(|| {
            let text = fs::read_to_string(folder.path().join("DevToolsActivePort")).ok()?;
            text.lines().next()?.parse::<u16>().ok()
        });
        let page = wait_for(|| page_of(port, address));
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(page, stream).unwrap();
        Self { process, socket, number: 0, _folder: folder }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let message = json!({"id": self.number, "method": method, "params": parameters});
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.number {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The value of an expression in the page; promises are waited for.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let begin = Instant::now();
        while self.value(&format!("Boolean({expression})")) != Value::Bool(true) {
            if begin.elapsed() > PATIENCE {
                let status = self.value("document.getElementById('status').textContent");
                panic!("never: {expression}; the page says: {status}");
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// A key of the keyboard.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        // A key that is a character also types it.
        let text = if key.chars().count() == 1 { key } else { "" };
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            let event =
                json!({"type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Makes the window as narrow as a phone's; a window of its own cannot be.
    pub(crate) fn be_a_phone(&mut self) {
        let screen = json!({"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true});
        self.call("Emulation.setDeviceMetricsOverride", screen);
    }

    /// The whole page as a PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let result = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        STANDARD.decode(result["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "the browser does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The address by which the page that shows `address` is spoken to.
fn page_of(port: u16, address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request =
        format!("GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    let list: Value = serde_json::from_str(&text[text.find('[')?..=text.rfind(']')?]).ok()?;
    let page = list.as_array()?.iter().find(|page| {
        page["type"] == "page" && page["url"].as_str().is_some_and(|url| url.starts_with(address))
    })?;
    Some(page["webSocketDebuggerUrl"].as_str()?.to_owned())
}
