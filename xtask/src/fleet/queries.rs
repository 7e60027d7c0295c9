//! Every query of dashboards and rules.

use super::server::Api;
use crate::workspace;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;

/// What the variables of the dashboards stand for in the fleet that is made up.
const VARIABLES: [(&str, &str); 3] = [("$instance", "hv-000000"), ("$old", "7.2.13"), ("$new", "7.3.4")];

/// Those of the dashboards as committed: where, and what.
///
/// # Errors
/// When a file cannot be read.
pub fn of_dashboards() -> Result<Vec<(String, String)>> {
    let dir = workspace::root()?.join("dashboards/grafana");
    let mut queries = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                let expr = target["expr"].as_str().context("a target without a query")?;
                let expr =
                    VARIABLES.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value));
                queries.push((format!("{}: {}", dashboard["title"], panel["title"]), expr));
            }
        }
        for variable in list(&dashboard["templating"]["list"]).iter().filter(|v| v["type"] == "query") {
            // `label_values(METRIC, LABEL)` has values if the metric has the label.
            let query = variable["query"]
                .as_str()
                .and_then(|query| query.strip_prefix("label_values(")?.strip_suffix(')'));
            let (metric, label) =
                query.and_then(|query| query.split_once(", ")).context("label_values(METRIC, LABEL)")?;
            queries.push((
                format!("{}: ${}", dashboard["title"], variable["name"]),
                format!("{metric}{{{label}!=\"\"}}"),
            ));
        }
    }
    Ok(queries)
}

/// Those of the rules as Prometheus has them.
///
/// # Errors
/// When a rule does not work, or there are none.
pub fn of_rules(api: &Api) -> Result<Vec<(String, String)>> {
    let groups = api.get("rules", &[])?;
    let groups = groups["groups"].as_array().context("no groups of rules")?;
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let mut queries = Vec::new();
    for rule in rules {
        if rule["health"] == "err" {
            bail!("rule {}: {}", rule["name"], rule["lastError"]);
        }
        let query = rule["query"].as_str().context("a rule without a query")?;
        queries.push((format!("rule {}", rule["name"]), query.to_owned()));
    }
    if queries.is_empty() {
        bail!("Prometheus has no rules");
    }
    Ok(queries)
}
