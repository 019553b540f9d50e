//! A message of the session bus.

use zeroize::Zeroizing;

use crate::keychain::wire::{
    Body, FIELD_ERROR_NAME, FIELD_PATH, FIXED_HEADER, Failure, Message, Result, Target, call,
    message_length,
};

/// 1. A message that says how long it is has at most 1 MiB.
/// 2. Whatever is read of its body lies within it, and a text has no end in the middle.
/// 3. What was read, written into a call again, is read as the same.
pub fn dbus(bytes: &[u8]) -> Option<()> {
    if let Ok(length) = message_length(&bytes[..FIXED_HEADER.min(bytes.len())]) {
        assert!((FIXED_HEADER..=1024 * 1024).contains(&length));
    }
    let message = Message::parse(Zeroizing::new(bytes.to_vec())).ok()?;
    let [path, member, destination, interface, error, signature] =
        [FIELD_PATH, 3, 6, 2, FIELD_ERROR_NAME, 8].map(|code| message.text(code));
    assert!(!Failure::named(error).to_string().is_empty());
    let body = read(&message, signature);
    let written = body.as_ref().map_or_else(|_| Body::new(""), write);
    let target = Target { destination, path, interface };
    let serial = message.reply_serial;
    let printed = call(serial, &target, member, &written);
    assert_eq!(message_length(&printed[..FIXED_HEADER]).ok(), Some(printed.len()));
    let again = Message::parse(printed).ok().unwrap();
    for (code, text) in [(FIELD_PATH, path), (3, member), (6, destination), (2, interface)] {
        assert_eq!(again.text(code), text);
    }
    if let Ok(body) = body {
        assert_eq!(again.text(8), signature);
        assert_eq!(read(&again, signature).ok(), Some(body));
    }
    Some(())
}

/// What the answers of a Secret Service are made of.
#[derive(Debug, PartialEq)]
enum Value {
    Nothing,
    Boolean(bool),
    Locked(bool),
    Text(String),
    Number(u32),
    TwoPaths(Vec<String>, Vec<String>),
    PathsAndOne(Vec<String>, String),
    Session(String),
    Prompted(String, String),
    Secret(String, Vec<u8>, String),
}

fn read(message: &Message, signature: &str) -> Result<Value> {
    assert!(message.body(&format!("{signature}x")).is_err(), "an answer of another type");
    let mut reader = message.body(signature)?;
    let owned = |text: &str| {
        assert!(!text.contains('\0'));
        text.to_owned()
    };
    Ok(match signature {
        "" => Value::Nothing,
        "b" => Value::Boolean(reader.boolean()?),
        "o" => Value::Text(owned(reader.string()?)),
        "u" => Value::Number(reader.uint32()?),
        "aoo" => Value::PathsAndOne(reader.paths()?, owned(reader.string()?)),
        "aoao" => Value::TwoPaths(reader.paths()?, reader.paths()?),
        "vo" => {
            reader.empty_variant()?;
            Value::Session(owned(reader.string()?))
        }
        "v" => {
            reader.variant("b")?;
            Value::Locked(reader.boolean()?)
        }
        "oo" => Value::Prompted(owned(reader.string()?), owned(reader.string()?)),
        "(oayays)" => {
            reader.align(8)?;
            let session = owned(reader.string()?);
            reader.byte_array()?;
            let value = reader.byte_array()?.to_vec();
            Value::Secret(session, value, owned(reader.string()?))
        }
        _ => return Err(Failure::Malformed("an answer that nothing asks for")),
    })
}

fn write(value: &Value) -> Body {
    match value {
        Value::Nothing => Body::new(""),
        Value::Boolean(is) => Body::new("b").uint32(u32::from(*is)),
        Value::Locked(is) => Body::new("v").signature("b").uint32(u32::from(*is)),
        Value::Text(text) => Body::new("o").string(text),
        Value::Number(number) => Body::new("u").uint32(*number),
        Value::PathsAndOne(paths, one) => Body::new("aoo").paths(paths).string(one),
        Value::TwoPaths(one, two) => Body::new("aoao").paths(one).paths(two),
        Value::Session(path) => Body::new("vo").signature("s").string("").string(path),
        Value::Prompted(one, two) => Body::new("oo").string(one).string(two),
        Value::Secret(session, value, kind) => Body::new("(oayays)").secret(session, value, kind),
    }
}
