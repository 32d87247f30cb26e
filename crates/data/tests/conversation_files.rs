//! Files of conversations: what is read, and how faults are named.

// Clippy's allow-unwrap-in-tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ferrochat_chat::{Conversation, Message, Part, Role};
use ferrochat_data::{ConversationSource, DataError, open_conversations};
use flate2::{Compression, write::GzEncoder};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

fn all(source: &dyn ConversationSource) -> Vec<Conversation> {
    (0..source.count()).map(|index| source.get(index).unwrap()).collect()
}

fn read(path: &Path) -> Vec<Conversation> {
    all(open_conversations(path).unwrap().as_ref())
}

fn refusal(path: &Path) -> String {
    let error = open_conversations(path).err().expect("it must be refused");
    assert!(matches!(error, DataError::Conversations { .. }), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains(&path.display().to_string()), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

fn pack(path: &Path, bytes: &[u8]) {
    let mut encoder = GzEncoder::new(File::create(path).unwrap(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap();
}

fn talk(number: usize) -> Conversation {
    Conversation::from(vec![
        Message::user(format!("question {number} é")),
        Message::assistant(format!("answer {number}\nand more")),
    ])
}

/// Both forms, a system message, tool parts, empty lines, a byte order mark and
/// no line end after the last.
const LINES: &str = concat!(
    "\u{feff}\r\n",
    r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}"#,
    "\r\n\n",
    r#"{"id": 1, "conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]}"#,
    "\n",
    r#"[{"role": "user", "content": "half?"}, {"role": "assistant", "content": [{"type": "python", "text": "1/2"}, {"type": "python_output", "text": "0.5"}, {"type": "text", "text": "0.5"}]}]"#,
);

fn expected() -> Vec<Conversation> {
    let answer = [
        Part::Python("1/2".into()),
        Part::PythonOutput("0.5".into()),
        Part::Text("0.5".into()),
    ];
    let answer = Message {
        role: Role::Assistant,
        parts: answer.into(),
    };
    vec![
        Conversation::from(vec![Message::system("s"), Message::user("u"), Message::assistant("a")]),
        Conversation::from(vec![Message::user("u"), Message::assistant("a")]),
        Conversation::from(vec![Message::user("half?"), answer]),
    ]
}

#[test]
fn both_forms_are_read_packed_or_not_whatever_the_file_is_called() {
    let root = tempfile::tempdir().unwrap();
    let (plain, packed) = (root.path().join("data"), root.path().join("packed.txt"));
    fs::write(&plain, LINES).unwrap();
    pack(&packed, LINES.as_bytes());
    assert_eq!(read(&plain), expected());
    assert_eq!(read(&packed), expected());
    let print = |path: &Path| open_conversations(path).unwrap().fingerprint();
    assert_eq!(print(&plain), print(&packed));
    fs::write(&plain, LINES.replace("half", "Half")).unwrap();
    assert_ne!(print(&plain), print(&packed));
}

#[test]
fn several_gzip_members_are_one_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("two.jsonl.gz");
    pack(&path, format!("{}\n", talk(0).to_json()).as_bytes());
    let first = fs::read(&path).unwrap();
    fs::write(&path, [first.clone(), first].concat()).unwrap();
    assert_eq!(read(&path), [talk(0), talk(0)]);
}

#[test]
fn a_folder_is_its_files_in_order_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let line = |number| talk(number).to_json() + "\n";
    fs::write(root.path().join("b.jsonl"), line(2)).unwrap();
    pack(&root.path().join("a.jsonl.gz"), (line(0) + &line(1)).as_bytes());
    fs::write(root.path().join("manifest.json"), "{}").unwrap();
    fs::create_dir(root.path().join("c.jsonl")).unwrap();
    assert_eq!(read(root.path()), [talk(0), talk(1), talk(2)]);
    fs::write(root.path().join("d.jsonl"), line(3) + "{}\n").unwrap();
    let error = open_conversations(root.path()).err().unwrap().to_string();
    assert!(error.contains("d.jsonl") && error.contains("line 2"), "{error}");
}

#[test]
fn damaged_lines_are_named() {
    let root = tempfile::tempdir().unwrap();
    let (plain, packed) = (root.path().join("data.jsonl"), root.path().join("data.jsonl.gz"));
    let right = talk(1).to_json();
    for (wrong, reason) in [
        (&b"{\"messages\": [}"[..], "not JSON (expected value at column 15)"),
        (b"\xff\xfe", "not UTF-8 text from byte 1 on"),
        (b"[]", "no messages"),
        (b"{\"messages\": []}", "no messages"),
        (b"{\"text\": \"a\"}", "neither \"messages\" nor \"conversations\""),
        (
            br#"[{"role": "assistant", "content": "a"}, {"role": "user", "content": "u"}]"#,
            "message 1 is from the assistant and must be from the user",
        ),
        (
            br#"[{"role": "user", "content": "a"}, {"role": "user", "content": "u"}]"#,
            "message 2 is from the user and must be from the assistant",
        ),
        (
            br#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]"#,
            "message 2, from the assistant, is empty",
        ),
    ] {
        let lines = [right.as_bytes(), b"", wrong, right.as_bytes()].join(&b'\n');
        fs::write(&plain, &lines).unwrap();
        pack(&packed, &lines);
        for path in [&plain, &packed] {
            let sentence = refusal(path);
            assert!(sentence.contains("line 3: ") && sentence.contains(reason), "{sentence}");
        }
    }
}

#[test]
fn damaged_gzip_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data.jsonl.gz");
    let lines: String = (0..500).map(|number| talk(number).to_json() + "\n").collect();
    pack(&path, lines.as_bytes());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    assert!(refusal(&path).contains("cannot be unpacked"));
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    damaged[bytes.len() - 6] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert!(refusal(&path).contains("cannot be unpacked"));
}

#[test]
fn nothing_to_read_is_said() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("empty.jsonl");
    for nothing in ["", "\n\n  \n"] {
        fs::write(&path, nothing).unwrap();
        assert!(refusal(&path).contains("there are none in it"));
    }
    pack(&path, b"");
    assert!(refusal(&path).contains("there are none in it"));
    assert!(refusal(&root.path().join("missing")).contains("does not exist"));
    fs::remove_file(&path).unwrap();
    assert!(refusal(root.path()).contains("no such file in this folder"));
}

#[test]
fn a_line_of_a_megabyte_is_read_and_one_of_65_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("long.jsonl");
    let long = Conversation::from(vec![Message::user("x ".repeat(1 << 19)), Message::assistant("y")]);
    fs::write(&path, [talk(0).to_json(), long.to_json(), talk(1).to_json()].join("\n")).unwrap();
    assert_eq!(read(&path), [talk(0), long, talk(1)]);
    let mut file = File::create(&path).unwrap();
    writeln!(file, "{}", talk(0).to_json()).unwrap();
    file.write_all(&vec![b'x'; 65 << 20]).unwrap();
    drop(file);
    assert!(refusal(&path).contains("line 2 is longer than 64 MiB"));
}

#[test]
fn a_file_that_changes_meanwhile_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data.jsonl");
    fs::write(&path, talk(0).to_json() + "\n" + &talk(1).to_json()).unwrap();
    let source = open_conversations(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(60).unwrap();
    let error = source.get(1).unwrap_err().to_string();
    assert!(error.contains("conversation 2 is no longer what it was"), "{error}");
}

/// One row per conversation with any number of plain messages.
fn write_parquet(path: &Path, column: &str, fields: [&str; 2], rows: &[Vec<[&str; 2]>]) {
    let schema = format!(
        "message schema {{ optional binary source (UTF8); optional group {column} (LIST) {{ repeated group list {{ \
         optional group element {{ optional binary {} (UTF8); optional binary {} (UTF8); }} }} }} }}",
        fields[0], fields[1]
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let nothing = vec![0; rows.len()];
    column
        .typed::<ByteArrayType>()
        .write_batch(&[], Some(&nothing), None)
        .unwrap();
    column.close().unwrap();
    for field in 0..2 {
        let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            for (index, message) in row.iter().enumerate() {
                values.push(ByteArray::from(message[field]));
                definitions.push(4);
                repetitions.push(i16::from(index > 0));
            }
            if row.is_empty() {
                definitions.push(1);
                repetitions.push(0);
            }
        }
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&values, Some(&definitions), Some(&repetitions))
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_is_read_in_both_forms() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("00000.parquet");
    let rows = [
        vec![["u", "user"], ["a", "assistant"]],
        vec![["s", "system"], ["u", "user"], ["a", "assistant"], ["v", "user"]],
    ];
    write_parquet(&path, "messages", ["content", "role"], &rows);
    let expected = [
        Conversation::from(vec![Message::user("u"), Message::assistant("a")]),
        Conversation::from(vec![
            Message::system("s"),
            Message::user("u"),
            Message::assistant("a"),
            Message::user("v"),
        ]),
    ];
    assert_eq!(read(&path), expected);
    let rows = [vec![["human", "u"], ["gpt", "a"]]];
    write_parquet(&path, "conversations", ["from", "value"], &rows);
    assert_eq!(read(root.path()), expected[..1]);
}

#[test]
fn faults_in_parquet_are_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("00000.parquet");
    let right = vec![["u", "user"], ["a", "assistant"]];
    write_parquet(
        &path,
        "messages",
        ["content", "role"],
        &[right.clone(), vec![["a", "assistant"]]],
    );
    assert!(refusal(&path).contains("row 2: message 1 is from the assistant"));
    write_parquet(
        &path,
        "messages",
        ["content", "role"],
        &[right.clone(), right.clone(), vec![]],
    );
    assert!(refusal(&path).contains("row 3: the conversation has no messages"));
    write_parquet(&path, "messages", ["text", "role"], std::slice::from_ref(&right));
    assert!(refusal(&path).contains("row 1: message 1 has nothing as its \"content\""));
    write_parquet(&path, "talks", ["content", "role"], &[right]);
    assert!(refusal(&path).contains("no column `messages` or `conversations`, only source, talks"));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let error = open_conversations(&path).err().unwrap().to_string();
    assert!(error.contains("00000.parquet"), "{error}");
}
