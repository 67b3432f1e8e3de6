//! The commands of documents and of recipes' headers.

/// The header of a recipe.
pub(crate) struct Header {
    /// The recipe whose header has to run before this one.
    pub(crate) after: Option<String>,
    /// The commands, in order.
    pub(crate) commands: Vec<String>,
}

/// The lines of a document's `sh` blocks, in order.
pub(crate) fn of_document(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in joined(text).lines() {
        if line.starts_with("```") {
            inside = line.trim_end() == "```sh";
        } else if inside {
            commands.extend(command(line));
        }
    }
    commands
}

/// The indented commands of the comment that a recipe begins with.
pub(crate) fn of_recipe(text: &str) -> Header {
    let comment: Vec<&str> = text.lines().map_while(|line| line.strip_prefix('#')).collect();
    let text = joined(&comment.join("\n"));
    let after = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("After "))
        .and_then(|rest| rest.split([',', ':']).next())
        .map(str::to_owned);
    let starts = |line: &&str| line.starts_with("multimae ") || line.starts_with("curl ");
    let commands = text.lines().map(str::trim).filter(starts).filter_map(command).collect();
    Header { after, commands }
}

/// The text with continued lines in one.
fn joined(text: &str) -> String {
    text.replace("\\\n", " ")
}

/// A line without its comment and superfluous spaces.
fn command(line: &str) -> Option<String> {
    let line = line.split(" #").next().unwrap_or_default();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty() && !line.starts_with('#')).then_some(line)
}

/// The words of a command, with quotes taken off.
pub(crate) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for character in command.chars() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if character == open => quote = None,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    words.push(word);
    words
}
