use ::parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};
use profiler_report::{
    report::Span,
    testing::{report, span},
};

use super::*;

fn read(report: &Report) -> Vec<Vec<(String, Field)>> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.add(report).unwrap();
    let bytes = writer.finish().unwrap();
    let reader = SerializedFileReader::new(prost::bytes::Bytes::from(bytes)).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().into_columns()).collect()
}

fn field<'a>(row: &'a [(String, Field)], name: &str) -> &'a Field {
    &row.iter().find(|(column, _)| column == name).unwrap().1
}

#[test]
fn a_reader_finds_the_tree_and_what_is_unknown_is_null() {
    let open = Span { duration_ns: None, self_ns: None, ..span("open", 20, 0) };
    let outer = Span { spans: vec![span("inner", 5, 5), open], ..span("outer", 0, 100) };
    let rows = read(&report(vec![outer]));
    let records: Vec<String> = rows.iter().map(|row| field(row, "record").to_string()).collect();
    assert_eq!(records.join(" "), r#""update" "phase" "span" "span" "span" "phase""#);
    let parents: Vec<String> = rows.iter().map(|row| field(row, "parent").to_string()).collect();
    assert_eq!(parents, ["null", "0", "1", "2", "2", "0"]);
    let durations: Vec<String> = rows.iter().map(|row| field(row, "duration_ns").to_string()).collect();
    assert_eq!(durations, ["1000", "500", "100", "5", "null", "500"]);
    assert_eq!(field(&rows[0], "began_at"), &Field::Null);
    assert_eq!(field(&rows[4], "critical"), &Field::Bool(false));
}

#[test]
fn the_documentation_has_every_column_in_order() {
    let text = include_str!("../../../docs/parquet.md");
    let documented = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let columns: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    assert_eq!(documented.collect::<Vec<_>>(), columns);
}
