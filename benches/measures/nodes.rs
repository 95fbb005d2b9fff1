//! More sockets than one process may open: six nodes on one store, in sync.

use std::time::Instant;

use crate::crowd::Crowd;
use crate::machine::{Core, kernel_memory};
use crate::publisher::Publisher;
use crate::report::Report;
use crate::servers::{headcount, redis};
use crate::{Extent, Result};

const NODES: usize = 6;

pub fn six_nodes(extent: Extent, report: &mut Report) -> Result<()> {
    // As many as they can open files for, less those that a server keeps for others.
    let clients = extent.pick(6000, 96_000);
    let store = redis()?;
    let mut nodes = (0..NODES).map(|_| headcount(Core::Server, 1, store.port, &[])).collect::<Result<Vec<_>>>()?;
    let mut crowds = (0..NODES).map(|_| Crowd::new()).collect::<Result<Vec<_>>>()?;
    let empty = nodes.iter().map(|node| node.resident()).sum::<Result<f64>>()?;
    let kernel = kernel_memory()?;
    let start = Instant::now();
    for (index, (node, crowd)) in nodes.iter().zip(&mut crowds).enumerate() {
        let mine = clients / NODES + usize::from(index < clients % NODES);
        crowd.ask(&format!("expect \"data\":{clients},"))?;
        crowd.tell(&format!("open {} {mine} 200 /ws", node.port))?;
    }
    for crowd in &mut crowds {
        crowd.answer()?;
    }
    let opened = start.elapsed().as_secs_f64();
    all(&mut crowds, "await")?;
    let in_sync = start.elapsed().as_secs_f64();
    all(&mut crowds, "settle 500")?;
    let each = (nodes.iter().map(|node| node.resident()).sum::<Result<f64>>()? - empty) / clients as f64;
    // Both ends of a connection are on this machine.
    let theirs = (kernel_memory()? - kernel) / (2 * clients) as f64;
    report.note(format!(
        "{clients} sockets on {NODES} nodes with one store: all open after {opened:.1} s, every one of them at \
         {clients} after {in_sync:.1} s; {each:.2} KiB resident in our processes and {theirs:.2} KiB in the kernel a socket"
    ));
    report.note(format!(
        "a million idle sockets would take {:.1} GiB of ours and {:.1} GiB of the kernel's, and, at 6 µs a delivery, \
         6 s of CPU for one message to all",
        each * 1e6 / f64::from(1 << 20),
        theirs * 1e6 / f64::from(1 << 20),
    ));
    message(store.port, &mut crowds, clients, report)?;
    let gone = crowds.pop();
    let left = clients - clients / NODES;
    for crowd in &mut crowds {
        crowd.ask(&format!("expect \"data\":{left},"))?;
    }
    drop((gone, nodes.pop()));
    all(&mut crowds, "await")?;
    report.note(format!("one node and its clients went: the {left} clients of the others all got that number"));
    Ok(())
}

/// One text to all, through every node.
fn message(redis: u16, crowds: &mut [Crowd], clients: usize, report: &mut Report) -> Result<()> {
    for crowd in &mut *crowds {
        crowd.ask("expect mark")?;
    }
    let mut publisher = Publisher::connect(&format!("redis:{redis}"))?;
    let start = Instant::now();
    publisher.publish([("users:count", "mark".to_owned())].into_iter())?;
    all(crowds, "await")?;
    let seconds = start.elapsed().as_secs_f64();
    publisher.confirm(1)?;
    report.note(format!(
        "one message to {clients} sockets on {NODES} nodes that share one core: all had it after {seconds:.2} s"
    ));
    Ok(())
}

fn all(crowds: &mut [Crowd], line: &str) -> Result<()> {
    for crowd in &mut *crowds {
        crowd.tell(line)?;
    }
    for crowd in crowds {
        crowd.answer()?;
    }
    Ok(())
}
