//! `cargo xtask reference`: tables of the book that are made from the program and its data files. A page marks the
//! place: `<!-- generated: NAME -->`, then what is generated, then `<!-- end of generated -->`.

use super::BOOK;
use super::markdown::{END, GENERATED};
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use toolbox::exec;

/// Pages with generated parts.
const PAGES: [&str; 5] = ["commands.md", "phases.md", "probes.md", "kernel.md", "report-json.md"];
/// The data files of the profiler: probes, phases, needs.
const CATALOGUE: &str = "profiler-report/src/catalogue";
/// Columns of the help.
const COLUMNS: &str = "100";

/// Writes the generated parts.
///
/// # Errors
/// When the profiler does not build, or a file cannot be read or written.
pub fn write() -> Result<()> {
    for page in PAGES {
        let (relative, _, new) = renewed(page)?;
        fs::write(workspace::root()?.join(&relative), new)
            .with_context(|| format!("cannot write {relative}"))?;
        eprintln!("xtask: wrote {relative}");
    }
    Ok(())
}

/// Compares the committed pages with those that would be generated.
///
/// # Errors
/// When one differs, or the profiler does not build.
pub fn check() -> Result<()> {
    for page in PAGES {
        let (relative, committed, new) = renewed(page)?;
        if committed != new {
            bail!("{relative} is out of date: run `cargo xtask reference`, review and commit");
        }
        eprintln!("xtask: {relative} is up to date");
    }
    Ok(())
}

/// Returns the page's path, its text, and its text with generated parts made again.
fn renewed(page: &str) -> Result<(String, String, String)> {
    let relative = format!("{BOOK}/{page}");
    let text = fs::read_to_string(workspace::root()?.join(&relative))
        .with_context(|| format!("cannot read {relative}"))?;
    let new = filled(&text, &generate).with_context(|| relative.clone())?;
    Ok((relative, text, new))
}

/// Returns `text` with each generated part replaced by what `generate` makes for its name.
fn filled(text: &str, generate: &dyn Fn(&str) -> Result<String>) -> Result<String> {
    let mut parts = text.split(GENERATED);
    let mut new = parts.next().unwrap_or_default().to_owned();
    ensure!(text.contains(GENERATED), "nothing in it is generated");
    for part in parts {
        let (name, rest) = part.split_once(" -->\n").context("the name of a generated part is not closed")?;
        let (_, after) = rest.split_once(END).with_context(|| format!("generated part {name} has no end"))?;
        new += &format!("{GENERATED}{name} -->\n\n{}\n\n{END}{after}", generate(name)?.trim());
    }
    Ok(new)
}

fn generate(name: &str) -> Result<String> {
    match name {
        "commands" => commands(),
        "phases" => Ok(phases(&catalogue("phases")?)),
        "probes" => Ok(probes(&catalogue("probes")?)),
        "needs" => Ok(needs(&catalogue("needs")?)),
        "report" => schema("report"),
        name => bail!("nothing is known to generate as {name}"),
    }
}

fn catalogue(name: &str) -> Result<Value> {
    let path = Path::new(CATALOGUE).join(name).with_extension("toml");
    let text = fs::read_to_string(workspace::root()?.join(&path));
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))
}

/// The help of every command.
fn commands() -> Result<String> {
    let help = |command: &[&str]| {
        let mut cargo = workspace::cargo()?;
        cargo.args(["run", "--quiet", "--locked", "--package", "profiler", "--bin", "blackout", "--"]);
        exec::output(cargo.args(command).arg("--help").env("COLUMNS", COLUMNS))
    };
    let overview = help(&[])?;
    let mut out = block(&overview);
    for name in subcommands(&overview) {
        let _ = write!(out, "\n## {name}\n\n{}", block(&help(&[name])?));
    }
    Ok(out)
}

fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let list = help.split_once("Commands:\n").map_or("", |(_, list)| list);
    let lines = list.lines().take_while(|line| !line.is_empty());
    // Names are indented by two columns; the descriptions that go on in the next line by more.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help")
}

fn block(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    format!("```text\n{}\n```\n", lines.join("\n"))
}

fn phases(catalogue: &Value) -> String {
    let mut out = String::from("| Phase | Title | Kernel | Begins at | Notes |\n|---|---|---|---|---|\n");
    for phase in entries(catalogue, "phase") {
        let flags =
            ["optional", "leaf", "epoch"].into_iter().filter(|flag| phase[*flag] == true).map(str::to_owned);
        let conditions = ["needs", "unless", "after"].into_iter();
        let conditions = conditions.filter_map(|key| Some(format!("{key} `{}`", phase[key].as_str()?)));
        let notes: Vec<String> = flags.chain(conditions).collect();
        let cells =
            [code(&phase["id"]), text(&phase["title"]), text(&phase["kernel"]), code(&phase["begin"])];
        out += &row(&[cells.as_slice(), &[notes.join(", ")]].concat());
    }
    out
}

fn probes(catalogue: &Value) -> String {
    let probes = entries(catalogue, "probe");
    let mut families: Vec<String> = Vec::new();
    for probe in probes {
        let family = text(&probe["family"]);
        if !families.contains(&family) {
            families.push(family);
        }
    }
    let mut out = String::new();
    for family in families {
        let _ = write!(
            out,
            "\n## {family}\n\n| Probe | Time | Functions | Outgoing | Incoming | Since |\n|---|---|---|---|---|---|\n"
        );
        for probe in probes.iter().filter(|probe| text(&probe["family"]) == family) {
            let [symbols, outgoing, incoming] =
                ["symbols", "outgoing", "incoming"].map(|key| code(&probe[key]));
            let [title, since] = ["title", "since"].map(|key| text(&probe[key]));
            out += &row(&[code(&probe["name"]), title, symbols, outgoing, incoming, since]);
        }
    }
    out
}

fn needs(catalogue: &Value) -> String {
    let mut out =
        String::from("| Need | Level | Without it | Options | Command line |\n|---|---|---|---|---|\n");
    for need in entries(catalogue, "need") {
        let [title, level, without] = ["title", "level", "without"].map(|key| text(&need[key]));
        out += &row(&[title, level, without, code(&need["config"]), code(&need["cmdline"])]);
    }
    out
}

/// The members of a committed schema, object by object.
fn schema(name: &str) -> Result<String> {
    let path = workspace::root()?.join(format!("{BOOK}/schema/blackout.{name}.1.json"));
    let json = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let schema: Value =
        serde_json::from_str(&json).with_context(|| format!("cannot parse {}", path.display()))?;
    let mut out = members(&schema);
    for (name, object) in schema["$defs"].as_object().into_iter().flatten() {
        let _ = match object["properties"].is_object() {
            true => write!(out, "\n## {name}\n\n{}", members(object)),
            false => write!(out, "\n## {name}\n\n{}", values(object)),
        };
    }
    Ok(out)
}

fn members(object: &Value) -> String {
    let mut out = String::from("| Member | Type | Meaning |\n|---|---|---|\n");
    for (name, member) in object["properties"].as_object().into_iter().flatten() {
        out += &row(&[format!("`{name}`"), type_of(member), description(member)]);
    }
    out
}

/// The values of an enumeration.
fn values(object: &Value) -> String {
    let mut out = String::from("| Value | Meaning |\n|---|---|\n");
    for value in entries(object, "oneOf") {
        let values = if value["const"].is_string() { &value["const"] } else { &value["enum"] };
        out += &row(&[code(values), description(value)]);
    }
    out
}

/// The description without rustdoc's links, which lead nowhere in the book: `` [`name`](Self::name) ``.
fn description(object: &Value) -> String {
    let text = text(&object["description"]);
    let mut parts = text.split("[`");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("`]").unwrap_or((part, ""));
        let rest =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest);
        plain += &format!("`{name}`{rest}");
    }
    plain
}

fn type_of(member: &Value) -> String {
    if let Some(reference) = member["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(types) = member["anyOf"].as_array().or(member["type"].as_array()) {
        let types = types.iter().map(|kind| if kind.is_string() { text(kind) } else { type_of(kind) });
        return types.collect::<Vec<_>>().join(" or ");
    }
    match member["type"].as_str() {
        Some("array") if member["items"].is_object() => format!("array of {}", type_of(&member["items"])),
        Some(name) => name.to_owned(),
        None => "any".to_owned(),
    }
}

fn entries<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// One string or several, as code.
fn code(value: &Value) -> String {
    let one = std::slice::from_ref(value);
    let values = value.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str);
    values.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}

fn row(cells: &[String]) -> String {
    // Of a name such as Handler<T> the browser would make an element.
    let cells = cells.iter().map(|cell| cell.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;"));
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_are_replaced_and_the_rest_stays() {
        let page = "# A\n\n<!-- generated: x -->\nold\n<!-- end of generated -->\n\nText.\n";
        let new = filled(page, &|name| Ok(format!("new {name}\n"))).unwrap();
        assert_eq!(new, "# A\n\n<!-- generated: x -->\n\nnew x\n\n<!-- end of generated -->\n\nText.\n");
        assert_eq!(filled(&new, &|name| Ok(format!("new {name}\n"))).unwrap(), new);
        assert!(filled("# A\n", &|_| Ok(String::new())).is_err());
        assert!(filled("<!-- generated: x -->\n", &|_| Ok(String::new())).is_err());
    }

    #[test]
    fn commands_are_found_in_the_help() {
        let help = "Text\n\nCommands:\n  arm      Arm\n  report   Compute\n           it\n  help     Help\n\nOptions:\n  -h\n";
        assert_eq!(subcommands(help).collect::<Vec<_>>(), ["arm", "report"]);
    }

    #[test]
    fn tables_have_a_row_for_each_entry() {
        let catalogue = json!({ "phase": [{ "id": "dark", "title": "a|b", "kernel": "jump", "leaf": true,
            "begin": ["enter x", "log y"], "unless": "stamp entry" }] });
        let row = "| `dark` | a\\|b | jump | `enter x`, `log y` | leaf, unless `stamp entry` |\n";
        assert!(phases(&catalogue).ends_with(row));
        let catalogue = json!({ "probe": [{ "name": "p", "family": "luo", "title": "t", "symbols": ["f"],
            "outgoing": ["call"] }] });
        assert!(probes(&catalogue).ends_with("| `p` | t | `f` | `call` |  |  |\n"));
    }

    #[test]
    fn descriptions_have_no_links_of_rustdoc() {
        let of = |text: &str| description(&json!({ "description": text }));
        assert_eq!(of("Of [`name`](Self::name) (or [`Run`])."), "Of `name` (or `Run`).");
        assert_eq!(of("Plain (text)."), "Plain (text).");
    }

    #[test]
    fn types_are_links() {
        assert_eq!(type_of(&json!({ "$ref": "#/$defs/Place" })), "[Place](#place)");
        assert_eq!(type_of(&json!({ "type": ["integer", "null"] })), "integer or null");
        assert_eq!(
            type_of(&json!({ "type": "array", "items": { "$ref": "#/$defs/Span" } })),
            "array of [Span](#span)"
        );
        let either = json!({ "anyOf": [{ "$ref": "#/$defs/Kernel" }, { "type": "null" }] });
        assert_eq!(type_of(&either), "[Kernel](#kernel) or null");
    }
}
