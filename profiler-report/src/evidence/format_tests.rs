use super::*;
use proptest::prelude::*;

/// `events/initcall/initcall_finish/format` and `events/kprobes/...` of Linux 7.3, shortened.
const COMMON: &str = "\
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

";

fn event(head: &str, fields: &str) -> EventFormat {
    EventFormat::parse(&format!("{head}{COMMON}{fields}\nprint fmt: \"field:no field\"\n")).unwrap()
}

#[test]
fn reads_scalars() {
    let format = event(
        "# initcall/initcall_finish\nname: initcall_finish\nID: 62\n",
        "\tfield:initcall_t func;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:int ret;\toffset:16;\tsize:4;\tsigned:1;\n",
    );
    assert_eq!(format.system.as_deref(), Some("initcall"));
    assert_eq!((format.name.as_str(), format.id, format.fields.len()), ("initcall_finish", 62, 6));
    let mut record = vec![62, 0, 0, 0, 1, 0, 0, 0];
    record.extend(0xffff_ffff_8123_4560u64.to_le_bytes());
    record.extend((-19i32).to_le_bytes());
    assert_eq!(format.u64(&record, "func"), Some(0xffff_ffff_8123_4560));
    assert_eq!(format.i64(&record, "ret"), Some(-19));
    assert_eq!(format.i64(&record, "common_pid"), Some(1));
    assert_eq!(format.i64(&record[..19], "ret"), None);
    assert_eq!(format.u64(&record, "absent"), None);
}

#[test]
fn reads_every_form_of_text() {
    let format = event(
        "name: texts\nID: 7\n",
        "\tfield:char comm[4];\toffset:8;\tsize:4;\tsigned:0;
\tfield:__data_loc char[] msg;\toffset:12;\tsize:4;\tsigned:0;
\tfield:__rel_loc char[] rel;\toffset:16;\tsize:4;\tsigned:0;
\tfield:unsigned long args[2];\toffset:20;\tsize:16;\tsigned:0;
\tfield:const char * fmt;\toffset:36;\tsize:8;\tsigned:0;
\tfield:char buf[];\toffset:44;\tsize:0;\tsigned:0;\n",
    );
    let kinds: Vec<_> =
        format.fields.iter().skip(4).map(|f| (f.name.as_str(), f.kind, f.is_text())).collect();
    assert_eq!(
        kinds,
        [
            ("comm", FieldKind::Array, true),
            ("msg", FieldKind::DataLoc, true),
            ("rel", FieldKind::RelLoc, true),
            ("args", FieldKind::Array, false),
            ("fmt", FieldKind::Scalar, false),
            ("buf", FieldKind::Trailing, true),
        ]
    );
    let mut record = vec![0; 8];
    record.extend(b"init");
    record.extend((5u32 << 16 | 48).to_le_bytes());
    record.extend((3u32 << 16 | 33).to_le_bytes());
    record.resize(44, 0);
    record.extend(b"hi!\nmsg\n\0r\x1b\0");
    assert_eq!(format.str(&record, "comm").as_deref(), Some("init"));
    assert_eq!(format.str(&record, "msg").as_deref(), Some("msg"));
    assert_eq!(format.str(&record, "rel").as_deref(), Some("r\u{fffd}"));
    assert_eq!(format.str(&record, "buf").as_deref(), Some("hi! msg"));
    assert_eq!(format.str(&record, "args"), None);
    record.truncate(50);
    assert_eq!(format.str(&record, "msg"), None);
    assert_eq!(format.str(&record[..40], "buf"), None);
}

#[test]
fn says_what_is_wrong_with_a_format() {
    let missing = EventFormat::parse("name: x\nformat:\n").unwrap_err();
    assert_eq!(missing.to_string(), "format of trace event `x` has no usable `ID:` line");
    assert!(EventFormat::parse("ID: 70000\nname: x\n").is_err());
    let bad = EventFormat::parse("name: x\nID: 1\n\tfield:int a;\tsize:4;\n").unwrap_err();
    assert_eq!(bad.to_string(), "format of `x`: cannot read the line `field:int a; size:4;`");
}

const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: char overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;
";

#[test]
fn reads_the_page_layout() {
    let layout = PageLayout::parse(HEADER_PAGE).unwrap();
    assert_eq!(
        layout,
        PageLayout {
            timestamp_offset: 0,
            commit_offset: 8,
            commit_size: 8,
            data_offset: 16,
            data_size: 4080
        }
    );
    for (from, to) in
        [("commit", "kommit"), ("offset:16", "offset:12"), ("size:8;\tsigned:1", "size:3;\tsigned:1")]
    {
        assert!(PageLayout::parse(&HEADER_PAGE.replace(from, to)).is_err(), "{from}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_value_or_an_error(text: String, record: Vec<u8>) {
        let _ = PageLayout::parse(&text);
        let _ = EventFormat::parse(&text);
        let _ = EventFormat::parse(&format!("name: x\nID: 1\n field:{text}"));
        let format = EventFormat::parse("name: x\nID: 1\n field:__rel_loc char[] m;offset:2;size:4;signed:0;").unwrap();
        let _ = format.str(&record, "m");
    }

    #[test]
    fn any_field_is_read_in_bounds(offset: u32, size: u32, record: Vec<u8>, decl in "(__data_loc |__rel_loc )?(unsigned )?(char|int)(\\[\\])? [a-z]{1,4}(\\[[0-9]{0,3}\\])?") {
        let text = format!("name: x\nID: 1\n\tfield:{decl};\toffset:{offset};\tsize:{size};\tsigned:1;\n");
        let format = EventFormat::parse(&text).unwrap();
        let name = format.fields[0].name.clone();
        let inside = offset as usize + size as usize <= record.len();
        if let Some(text) = format.str(&record, &name) {
            prop_assert!(text.len() <= MAX_STRING);
        }
        if format.u64(&record, &name).is_some() {
            prop_assert!(inside && matches!(size, 1 | 2 | 4 | 8));
        }
    }
}
