//! Counts in words.

/// `1 key`, `2 keys`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `1 key is`, `2 keys are`.
pub(crate) fn count_are(number: usize, noun: &str) -> String {
    format!("{} {}", count(number, noun), if number == 1 { "is" } else { "are" })
}

/// What a passphrase does not do: `opens none of the 3 keys`.
pub(crate) fn opens_none(keys: usize) -> String {
    match keys {
        1 => "does not open the only key".to_owned(),
        _ => format!("opens none of the {keys} keys"),
    }
}
