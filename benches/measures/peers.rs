//! The peers that are on this machine, with the same load: Nchan in nginx, and the article's program.

use super::storm::{slope, storm};
use super::trio::{Load, Measured, Party, Trio};
use super::{micros, millis};
use crate::crowd::Crowd;
use crate::report::{Report, Row};
use crate::servers::{Server, article, nchan, redis};
use crate::{Extent, Result};

pub fn peers(extent: Extent, report: &mut Report) -> Result<()> {
    match nchan()? {
        Some(server) => measure_nchan(extent, server, report)?,
        None => report.note("Nchan is not on this machine (Debian: libnginx-mod-nchan) and was skipped".to_owned()),
    }
    let store = redis()?;
    if article(store.port)?.is_none() {
        report
            .note("the article's program is not on this machine (npm ci in tests/article) and was skipped".to_owned());
        return Ok(());
    }
    measure_article(extent, report)
}

fn measure_nchan(extent: Extent, server: Server, report: &mut Report) -> Result<()> {
    let (clients, store) = (extent.pick(2000, 5000), redis()?);
    let (before, resident) = (server.cpu()?, server.resident()?);
    let crowd = Crowd::on(server.port, clients, "/sub?id=bench")?;
    let connect = (server.cpu()? - before) / clients as f64;
    let each = (server.resident()? - resident) / clients as f64;
    let by = format!("http:{}", server.port);
    let ours = Party { server, crowd, by, channel: "/pub?id=bench".to_owned(), more: 37 };
    let floors = (Party::floor(store.port, "floor:a", clients)?, Party::floor(store.port, "floor:b", clients)?);
    let mut trio = Trio([floors.0, ours, floors.1]);
    row(report, &format!("Nchan, {clients} sockets, 8 B"), &mut trio, clients, extent)?;
    report.note(format!("Nchan: {connect:.0} µs CPU a connect, {each:.2} KiB resident a socket"));
    Ok(())
}

fn measure_article(extent: Extent, report: &mut Report) -> Result<()> {
    const PATH: &str = "/socket.io/?EIO=4&transport=websocket";
    let clients = extent.pick(200, 1000);
    let mut points = Vec::new();
    let store = redis()?;
    for n in [clients / 4, clients / 2, clients] {
        let Some(server) = article(store.port)? else { return Ok(()) };
        let mut crowd = Crowd::new()?;
        crowd.ask("opening 40")?;
        points.push((n as f64, storm(&server, &mut crowd, n, PATH, None)?.0));
        if n < clients {
            continue;
        }
        let by = format!("redis:{}", store.port);
        let party = Party { server, crowd, by, channel: "users:count".to_owned(), more: 0 };
        let floors = (Party::floor(store.port, "floor:a", n)?, Party::floor(store.port, "floor:b", n)?);
        let mut trio = Trio([floors.0, party, floors.1]);
        row(report, &format!("the article's program, {n} sockets, 8 B"), &mut trio, n, extent)?;
    }
    let shown: Vec<_> = points.iter().map(|(n, each)| format!("{each:.0} µs at {n}")).collect();
    report.note(format!(
        "the article's program, CPU a connect: {}; the whole grows as n to the power of {:.2}",
        shown.join(", "),
        slope(&points)
    ));
    report.storm("article", points);
    Ok(())
}

fn row(report: &mut Report, what: &str, trio: &mut Trio, clients: usize, extent: Extent) -> Result<()> {
    let mut measured = Measured::default();
    trio.measure(extent.pick(3, 9), Load { clients, turns: 2, messages: 5, burst: 1, size: 8 }, &mut measured)?;
    report.row(Row {
        measure: format!("{what}: CPU a delivery"),
        ours: format!("{} (all have it after {})", micros(measured.cpu.ours()), millis(measured.middle.ours())),
        floor: micros(measured.cpu.floor()),
        ratio: Some(measured.cpu.ratio()),
        noise: Some(measured.cpu.noise()),
        goal: None,
    });
    Ok(())
}
