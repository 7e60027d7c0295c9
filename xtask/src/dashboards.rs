//! `cargo xtask dashboards`: Grafana's dashboards out of `dashboards/spec`, which says of each panel only what is its
//! own: where it stands, its ids and its options follow from its kind and its width.

use crate::workspace;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;
/// Version of the dashboard model that is written (Grafana 11).
const SCHEMA_VERSION: u32 = 39;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dashboard {
    uid: String,
    title: String,
    description: String,
    #[serde(default)]
    variable: Vec<Variable>,
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    title: String,
    query: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    panel: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    kind: Kind,
    title: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    unit: String,
    width: u32,
    queries: Vec<Query>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    expr: String,
    #[serde(default)]
    legend: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Stat,
    Bars,
    Table,
    Timeseries,
}

impl Kind {
    fn height(self) -> u32 {
        match self {
            Self::Stat => 4,
            Self::Bars | Self::Table | Self::Timeseries => 9,
        }
    }

    fn options(self) -> Value {
        let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
        match self {
            Self::Stat => json!({"reduceOptions": last, "textMode": "auto", "colorMode": "none"}),
            Self::Bars => json!({"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic"}),
            Self::Table => json!({"showHeader": true}),
            Self::Timeseries => {
                json!({"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}})
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Bars => "bargauge",
            Self::Table => "table",
            Self::Timeseries => "timeseries",
        }
    }
}

/// Writes the dashboards.
///
/// # Errors
/// When a specification is wrong or a file cannot be written.
pub fn write() -> Result<()> {
    for (name, json) in all()? {
        let path = path(&name)?;
        fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("xtask: wrote dashboards/grafana/{name}.json");
    }
    Ok(())
}

/// Compares the committed dashboards with what their specifications give.
///
/// # Errors
/// When one differs.
pub fn check() -> Result<()> {
    for (name, json) in all()? {
        let path = path(&name)?;
        let committed =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if committed != json {
            bail!(
                "dashboards/grafana/{name}.json is not what dashboards/spec/{name}.toml gives: run `cargo xtask dashboards`"
            );
        }
    }
    eprintln!("xtask: dashboards/grafana is what dashboards/spec gives");
    Ok(())
}

fn path(name: &str) -> Result<PathBuf> {
    Ok(workspace::root()?.join("dashboards/grafana").join(format!("{name}.json")))
}

/// Every dashboard, by name, as it is committed.
fn all() -> Result<Vec<(String, String)>> {
    let dir = workspace::root()?.join("dashboards/spec");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| one(path).with_context(|| format!("{}", path.display()))).collect()
}

fn one(path: &Path) -> Result<(String, String)> {
    let dashboard: Dashboard = toml::from_str(&fs::read_to_string(path)?)?;
    let name = path.file_stem().and_then(|stem| stem.to_str()).context("a name")?;
    Ok((name.to_owned(), serde_json::to_string_pretty(&grafana(&dashboard))? + "\n"))
}

fn grafana(dashboard: &Dashboard) -> Value {
    let source =
        json!({"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"});
    let variables = dashboard.variable.iter().map(|variable| {
        json!({
            "name": variable.name, "label": variable.title, "type": "query", "query": variable.query,
            "definition": variable.query, "datasource": datasource(), "refresh": 2, "sort": 1,
        })
    });
    json!({
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["blackout"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": true,
        "refresh": "1m",
        "time": {"from": "now-30d", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["blackout"], "title": "Blackout", "includeVars": false}],
        "templating": {"list": std::iter::once(source).chain(variables).collect::<Vec<_>>()},
        "panels": panels(&dashboard.row),
    })
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Row by row from left to right, in lines as high as their highest panel.
fn panels(rows: &[Row]) -> Vec<Value> {
    let (mut panels, mut y) = (Vec::new(), 0);
    for row in rows {
        let id = panels.len() + 1;
        let place = json!({"x": 0, "y": y, "w": COLUMNS, "h": 1});
        panels.push(json!({"id": id, "type": "row", "title": row.title, "gridPos": place, "collapsed": false, "panels": []}));
        y += 1;
        let (mut x, mut height) = (0, 0);
        for panel in &row.panel {
            if x + panel.width > COLUMNS {
                (x, y, height) = (0, y + height, 0);
            }
            let place = json!({"x": x, "y": y, "w": panel.width, "h": panel.kind.height()});
            panels.push(self::panel(panel, panels.len() + 1, place));
            (x, height) = (x + panel.width, height.max(panel.kind.height()));
        }
        y += height;
    }
    panels
}

fn panel(panel: &Panel, id: usize, place: Value) -> Value {
    let instant = panel.kind != Kind::Timeseries;
    let format = if panel.kind == Kind::Table { "table" } else { "time_series" };
    let targets = panel.queries.iter().zip('A'..='Z').map(|(query, id)| {
        json!({
            "refId": id, "datasource": datasource(), "expr": query.expr, "legendFormat": query.legend,
            "instant": instant, "range": !instant, "format": format,
        })
    });
    json!({
        "id": id,
        "type": panel.kind.name(),
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": datasource(),
        "targets": targets.collect::<Vec<_>>(),
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": panel.kind.options(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_fill_lines_and_do_not_overlap() {
        let text =
            |width| format!("[[panel]]\nkind = \"stat\"\ntitle = \"t\"\nwidth = {width}\nqueries = []\n");
        let row: Row =
            toml::from_str(&format!("title = \"r\"\n{}{}{}", text(12), text(12), text(6))).unwrap();
        let places: Vec<String> = panels(&[row]).iter().map(|panel| panel["gridPos"].to_string()).collect();
        assert_eq!(
            places[1..],
            [
                r#"{"h":4,"w":12,"x":0,"y":1}"#,
                r#"{"h":4,"w":12,"x":12,"y":1}"#,
                r#"{"h":4,"w":6,"x":0,"y":5}"#,
            ]
        );
    }
}
