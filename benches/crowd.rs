//! A load process, as its parent sees it: a line out, a line back.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Result;
use crate::machine::{Core, spawn_on};

pub struct Crowd {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Crowd {
    /// A load process without clients.
    pub fn new() -> Result<Self> {
        Self::in_role(&["load"])
    }

    /// A load process whose clients poll an endpoint about so many boards.
    pub fn polling(port: u16, clients: usize, boards: usize) -> Result<Self> {
        Self::in_role(&["polling", &port.to_string(), &clients.to_string(), &boards.to_string()])
    }

    fn in_role(role: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("role").args(role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn_on(Core::Load, &mut command)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else { return Err("no pipes".into()) };
        Ok(Self { child, to, from: BufReader::new(from) })
    }

    /// A load process with clients on one server, and nothing on its way to them any more.
    pub fn on(port: u16, clients: usize, path: &str) -> Result<Self> {
        let mut crowd = Self::new()?;
        crowd.open(port, clients, path)?;
        Ok(crowd)
    }

    /// Opens clients, and waits until nothing is on its way to them any more.
    pub fn open(&mut self, port: u16, clients: usize, path: &str) -> Result<()> {
        self.ask(&format!("open {port} {clients} 200 {path}"))?;
        self.ask("settle 200")?;
        Ok(())
    }

    /// Asks for something, without waiting for the answer.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.to, "{line}")?)
    }

    /// The next answer.
    pub fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
            ("ok", answer) => Ok(answer.to_owned()),
            ("error", why) => Err(format!("load: {why}").into()),
            _ => Err(format!("load: ended after {line:?}").into()),
        }
    }

    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.tell(line)?;
        self.answer()
    }

    /// The numbers in the answer.
    pub fn numbers(&mut self, line: &str) -> Result<Vec<f64>> {
        self.ask(line)?.split_whitespace().map(|number| Ok(number.parse()?)).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
