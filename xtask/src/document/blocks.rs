//! The fenced blocks of a Markdown text.

/// A block between fences.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What stands behind the opening fence: `bash`, `dockerfile`, or nothing.
    pub(super) language: String,
    /// The text, without the indentation of the fence.
    pub(super) text: String,
    /// Line of the opening fence, from 1.
    pub(super) line: usize,
}

/// Every fenced block, in order (CommonMark 4.5, backticks alone).
pub(super) fn blocks(markdown: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (i, line) in markdown.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let fence = line.trim().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(language)) => {
                let block = Block { language: language.trim().to_owned(), text: String::new(), line: i + 1 };
                open = Some((block, indent));
            }
            (Some(_), Some("")) => found.extend(open.take().map(|(block, _)| block)),
            (Some((block, indent)), _) => {
                let cut = line.len() - line.trim_start().len();
                block.text.push_str(&line[cut.min(*indent)..]);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lose_the_fences_indentation_and_nothing_else() {
        let text = "a\n```bash\nx\n  y\n```\n\n   ```dockerfile\n   FROM a\n\n     b\n   ```\n```\nz\n```\n";
        let block =
            |language: &str, text: &str, line| Block { language: language.into(), text: text.into(), line };
        assert_eq!(
            blocks(text),
            [block("bash", "x\n  y\n", 2), block("dockerfile", "FROM a\n\n  b\n", 7), block("", "z\n", 12)]
        );
    }

    #[test]
    fn the_document_has_the_blocks_that_are_run() {
        assert_eq!(blocks(super::super::DOCUMENT).len(), super::super::BLOCKS);
    }
}
