//! The words of a statement, without its texts and comments, as each engine reads them. Knows no grammar and judges
//! nothing; what could be read in two ways is an error.

use super::server::Engine;

/// A piece of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword, or a name without quotes. On SQL Server with the `@` or `#` that leads it.
    Word(&'a str),
    /// A name in quotes, without them. On MySQL also what stands in double quotes, which may be a text.
    Name(&'a str),
    /// A text, or another literal.
    Literal,
    Symbol(char),
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(its) if its.eq_ignore_ascii_case(word))
    }
}

/// Why a statement cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("{0} is never closed")]
    Open(&'static str),
    #[error("a comment that MySQL executes (/*! or /*M!) hides a part of the statement; write it without the comment")]
    Executed,
    #[error(
        "a backslash before a double quote ends the text in one sql_mode and not in another; write it in single quotes"
    )]
    Backslash,
    #[error("a number and a word stand together ({0}), which engines part in different ways; put a blank between them")]
    Glued(char),
    #[error("a sign that is neither letter nor blank everywhere stands outside of quotes (U+{0:04X}); take it out")]
    Strange(u32),
    #[error("a comment has a carriage return without a line feed, where some end it and others do not; take it out")]
    Return,
    #[error("a text goes on after E'…'; write it as one")]
    Continued,
    #[error("a name with escapes (U&\"…\") cannot be told; write the name itself")]
    Escaped,
}

struct Scan<'a> {
    engine: Engine,
    sql: &'a str,
    at: usize,
}

/// All tokens, in order.
pub fn tokens(engine: Engine, sql: &str) -> Result<Vec<Token<'_>>, Unreadable> {
    let mut scan = Scan { engine, sql, at: 0 };
    let mut found = Vec::new();
    while let Some(token) = scan.next()? {
        found.push(token);
    }
    Ok(found)
}

fn leads(char: char, engine: Engine) -> bool {
    char.is_ascii_alphabetic()
        || char == '_'
        || (!char.is_ascii() && char.is_alphanumeric())
        || (engine == Engine::Sqlserver && matches!(char, '@' | '#'))
}

fn goes_on(char: char, engine: Engine) -> bool {
    leads(char, engine) || char.is_ascii_digit() || char == '$'
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, count: usize) -> &'a str {
        let taken = self.rest().get(..count).unwrap_or_else(|| self.rest());
        self.at += taken.len();
        taken
    }

    fn while_(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        self.take(rest.find(|char| !fits(char)).unwrap_or(rest.len()))
    }

    fn next(&mut self) -> Result<Option<Token<'a>>, Unreadable> {
        self.blank()?;
        let rest = self.rest();
        let Some(char) = rest.chars().next() else {
            return Ok(None);
        };
        let engine = self.engine;
        let mysql = engine == Engine::Mysql;
        let postgres = engine == Engine::Postgres;
        let token = match char {
            '\'' => self.literal(mysql)?,
            '"' => Token::Name(self.name('"', mysql, "a double quote")?),
            '`' if mysql => Token::Name(self.name('`', false, "a backtick")?),
            '[' if engine == Engine::Sqlserver => Token::Name(self.name(']', false, "a bracket")?),
            '$' if postgres => self.dollar()?,
            _ if char.is_ascii_digit() => self.number()?,
            _ if !char.is_ascii() && !char.is_alphanumeric() => return Err(Unreadable::Strange(char.into())),
            _ if leads(char, engine) => {
                let word = self.while_(|char| goes_on(char, engine));
                let after = self.rest();
                if postgres && word.eq_ignore_ascii_case("e") && after.starts_with('\'') {
                    let text = self.literal(true)?;
                    self.blank()?;
                    // What follows on another line belongs to it, backslashes and all.
                    if self.rest().starts_with('\'') {
                        return Err(Unreadable::Continued);
                    }
                    return Ok(Some(text));
                }
                if postgres && word.eq_ignore_ascii_case("u") && after.starts_with("&\"") {
                    return Err(Unreadable::Escaped);
                }
                Token::Word(word)
            }
            _ => {
                self.at += char.len_utf8();
                Token::Symbol(char)
            }
        };
        Ok(Some(token))
    }

    /// Whitespace and comments.
    fn blank(&mut self) -> Result<(), Unreadable> {
        loop {
            self.while_(|char| char.is_ascii() && (char.is_whitespace() || char.is_control()));
            let rest = self.rest();
            let mysql = self.engine == Engine::Mysql;
            // For MySQL two dashes are a comment only before a blank.
            let dashes = rest.strip_prefix("--").is_some_and(|after| {
                let next = after.chars().next();
                !mysql || next.is_none_or(|next| next.is_whitespace() || next.is_control())
            });
            if dashes || (mysql && rest.starts_with('#')) {
                let comment = self.while_(|char| char != '\n');
                if comment.trim_end_matches('\r').contains('\r') {
                    return Err(Unreadable::Return);
                }
            } else if rest.starts_with("/*") {
                if mysql && (rest.starts_with("/*!") || rest.starts_with("/*M!")) {
                    return Err(Unreadable::Executed);
                }
                self.comment(!mysql)?;
            } else {
                return Ok(());
            }
        }
    }

    /// A comment that began; MySQL's do not nest.
    fn comment(&mut self, nests: bool) -> Result<(), Unreadable> {
        self.take(2);
        let mut depth = 1_u32;
        while depth > 0 {
            let rest = self.rest();
            if rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
            } else if nests && rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else {
                let char = rest.chars().next().ok_or(Unreadable::Open("a comment"))?;
                self.at += char.len_utf8();
            }
        }
        Ok(())
    }

    /// A number; no word may begin where it ends.
    fn number(&mut self) -> Result<Token<'a>, Unreadable> {
        let rest = self.rest();
        let digits = |of: &str, kind: fn(&char) -> bool| of.chars().take_while(kind).count();
        let prefixed = [
            ("0x", char::is_ascii_hexdigit as fn(&char) -> bool),
            ("0b", |char| matches!(char, '0' | '1')),
        ];
        let prefixed = prefixed.iter().find_map(|(prefix, kind)| {
            let count = digits(rest.strip_prefix(prefix)?, *kind);
            (count > 0).then_some(prefix.len() + count)
        });
        let size = prefixed.unwrap_or_else(|| {
            let whole = digits(rest, |char| char.is_ascii_digit() || *char == '.');
            let after = rest.get(whole..).unwrap_or_default();
            let power = after.strip_prefix(['e', 'E']).map(|power| (1, power));
            let power = power.map(|(size, power)| match power.strip_prefix(['+', '-']) {
                Some(power) => (size + 1, power),
                None => (size, power),
            });
            let power = power.map_or(0, |(size, power)| match digits(power, char::is_ascii_digit) {
                0 => 0,
                count => size + count,
            });
            whole + power
        });
        self.take(size);
        match self.rest().chars().next() {
            Some(next) if goes_on(next, self.engine) => Err(Unreadable::Glued(next)),
            Some(_) | None => Ok(Token::Literal),
        }
    }

    /// A text in single quotes.
    fn literal(&mut self, backslash: bool) -> Result<Token<'a>, Unreadable> {
        self.take(1);
        loop {
            let rest = self.rest();
            let char = rest.chars().next().ok_or(Unreadable::Open("a text"))?;
            if rest.starts_with("''") {
                self.take(2);
            } else if char == '\'' {
                self.take(1);
                return Ok(Token::Literal);
            } else if backslash && char == '\\' {
                self.take(1);
                let next = self.rest().chars().next().ok_or(Unreadable::Open("a text"))?;
                self.at += next.len_utf8();
            } else {
                self.at += char.len_utf8();
            }
        }
    }

    /// A name in quotes, which are doubled where they belong to it.
    fn name(&mut self, close: char, backslash: bool, what: &'static str) -> Result<&'a str, Unreadable> {
        self.take(1);
        let begin = self.at;
        loop {
            let mut chars = self.rest().chars();
            let char = chars.next().ok_or(Unreadable::Open(what))?;
            let next = chars.next();
            if char == close && next == Some(close) {
                self.take(2);
            } else if char == close {
                let name = self.sql.get(begin..self.at).unwrap_or_default();
                self.take(1);
                return Ok(name);
            } else if backslash && char == '\\' && matches!(next, Some('"' | '\\')) {
                return Err(Unreadable::Backslash);
            } else {
                self.at += char.len_utf8();
            }
        }
    }

    /// PostgreSQL's `$1`, or a text between two `$tag$`.
    fn dollar(&mut self) -> Result<Token<'a>, Unreadable> {
        let rest = self.rest();
        let after = rest.get(1..).unwrap_or_default();
        let end = after.find('$').filter(|end| {
            let tag = after.get(..*end).unwrap_or_default();
            !tag.starts_with(|char: char| char.is_ascii_digit())
                && tag
                    .chars()
                    .all(|char| char.is_ascii_alphanumeric() || char == '_' || !char.is_ascii())
        });
        let Some(end) = end else {
            self.take(1);
            self.while_(|char| char.is_ascii_digit());
            return Ok(Token::Literal);
        };
        let tag = self.take(end + 2);
        let close = self
            .rest()
            .find(tag)
            .ok_or(Unreadable::Open("a text between dollars"))?;
        self.take(close + tag.len());
        Ok(Token::Literal)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use Token::{Literal, Name, Symbol, Word};

    #[test]
    fn texts_and_comments_hide_what_is_in_them() {
        let cases: &[(Engine, &str, &[Token<'_>])] = &[
            (
                Engine::Postgres,
                "a'b''c'\n-- d\n/* e /* f */ g */h",
                &[Word("a"), Literal, Word("h")],
            ),
            (
                Engine::Postgres,
                r"'a\' b E'a\' c' d",
                &[Literal, Word("b"), Literal, Word("d")],
            ),
            (
                Engine::Postgres,
                "$x$ drop $$ $x$ a $1 $$b$$",
                &[Literal, Word("a"), Literal, Literal],
            ),
            (Engine::Postgres, "\"a\"\"b\"(", &[Name("a\"\"b"), Symbol('(')]),
            (Engine::Mysql, r"'a\' b' `c` # d", &[Literal, Name("c")]),
            (
                Engine::Mysql,
                "/* a /* b */ c --d\n-- e",
                &[Word("c"), Symbol('-'), Symbol('-'), Word("d")],
            ),
            (
                Engine::Sqlserver,
                "[a]]b] N'x' @P1 #t",
                &[Name("a]]b"), Word("N"), Literal, Word("@P1"), Word("#t")],
            ),
            (Engine::Sqlserver, r"'a\' b", &[Literal, Word("b")]),
            (Engine::Sqlserver, "1e5 2.5e-1 0x1F", &[Literal, Literal, Literal]),
        ];
        for (engine, sql, wanted) in cases {
            assert_eq!(tokens(*engine, sql).unwrap(), *wanted, "{sql}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (engine, sql, why) in [
            (
                Engine::Mysql,
                "select 1 /*!50000 into outfile 'x' */",
                Unreadable::Executed,
            ),
            (Engine::Mysql, "select 1 /*M!100000 for update */", Unreadable::Executed),
            (
                Engine::Mysql,
                r#"select "a\" into outfile 'x' -- ""#,
                Unreadable::Backslash,
            ),
            (Engine::Postgres, "select U&\"\\0070g\"()", Unreadable::Escaped),
            (Engine::Postgres, "select 'a", Unreadable::Open("a text")),
            (
                Engine::Postgres,
                "select E'a'\n'\\'' , pg_notify('a', 'b') --'",
                Unreadable::Continued,
            ),
            (Engine::Postgres, "select 1 -- \r'\n into t --'", Unreadable::Return),
            (Engine::Sqlserver, "select 1delete from t", Unreadable::Glued('d')),
            (Engine::Sqlserver, "select 1e5into x", Unreadable::Glued('i')),
            (Engine::Sqlserver, "select 1einto x", Unreadable::Glued('e')),
            (Engine::Sqlserver, "select 0x1Finto x", Unreadable::Glued('i')),
            (
                Engine::Sqlserver,
                "select a\u{200b}delete from t",
                Unreadable::Strange(0x200b),
            ),
            (Engine::Mysql, "select 1.5into outfile 'x'", Unreadable::Glued('i')),
            (Engine::Sqlserver, "select /* /* */", Unreadable::Open("a comment")),
        ] {
            assert_eq!(tokens(engine, sql).unwrap_err(), why, "{sql}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(sql in "[-a-z'\"`\\[\\]$/*!#;0-9.eExX@\\\\ \n\r(){}é🚦]{0,60}") {
            for engine in [Engine::Postgres, Engine::Mysql, Engine::Sqlserver] {
                // What is behind a blank and outside of everything is seen, whatever was before it.
                if let Ok(found) = tokens(engine, &sql) {
                    let more = format!("{sql}\n into");
                    let more = tokens(engine, &more).unwrap();
                    proptest::prop_assert!(more.starts_with(&found) && more.last().unwrap().is("into"));
                }
            }
        }
    }
}
