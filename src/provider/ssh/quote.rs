//! Words for a POSIX shell. Must not know what they are for.

/// A word that a POSIX shell reads back as these very characters.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Words as a shell reads them, as short as they can be: for people.
pub fn shown(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "-_./:,@%+".contains(char))
    };
    let shown: Vec<String> = words
        .iter()
        .map(|word| if plain(word) { word.clone() } else { quote(word) })
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// What a real shell makes of the words, sent as its program.
    fn through_a_shell(words: &[String], quoted: &str) -> std::io::Result<Vec<String>> {
        let mut shell = Command::new("/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut program) = shell.stdin.take() {
            program.write_all(format!("printf '%s\\0' {quoted}\n").as_bytes())?;
        }
        let printed = shell.wait_with_output()?.stdout;
        let text = String::from_utf8_lossy(&printed).into_owned();
        let mut read: Vec<String> = text.split('\0').map(str::to_owned).collect();
        read.pop();
        assert!(!words.is_empty(), "printf prints one end for no words");
        Ok(read)
    }

    fn word() -> impl Strategy<Value = String> {
        let nasty = "['\"\\\\$`!*?~#&|;<>(){}\\[\\] \t\r\n=%^-]{0,12}";
        prop_oneof![
            nasty.prop_map(String::from),
            "[^\0]{0,40}".prop_map(String::from),
            Just("-n".to_owned()),
            Just("'\\''".to_owned()),
            Just("$(echo no)".to_owned()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_shell_reads_back_the_very_words(words in prop::collection::vec(word(), 1..6)) {
            let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(through_a_shell(&words, &quoted.join(" "))?, words.clone());
            prop_assert_eq!(through_a_shell(&words, &shown(&words))?, words);
        }
    }

    #[test]
    fn what_needs_no_quotes_gets_none() {
        let words = ["rsync", "--archive", "/a b", ""].map(str::to_owned);
        assert_eq!(shown(&words), "rsync --archive '/a b' ''");
    }
}
