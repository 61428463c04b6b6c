//! `conda init`: a block in the shell's own file, between marks, as conda
//! writes it; running it twice changes nothing.

use std::path::{Path, PathBuf};

use crate::args::InitArgs;
use crate::context::Context;
use crate::error::{Context as _, Error, Result};
use crate::records::write_whole;
use crate::report;

const BEGIN: &str = "# >>> conda initialize >>>";
const END: &str = "# <<< conda initialize <<<";

/// Runs it.
///
/// # Errors
/// A shell that is not known, a file that cannot be written.
pub(crate) fn run(context: &mut Context, args: &InitArgs) -> Result<()> {
    context.prompt(&args.prompt);
    let shells: Vec<String> = match (args.all, args.shells.is_empty()) {
        (true, _) => vec!["bash".to_owned(), "zsh".to_owned()],
        (_, true) => vec!["bash".to_owned()],
        _ => args.shells.clone(),
    };
    let mut changed = false;
    for shell in &shells {
        let file = file(context, shell, args.system)?;
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        let block = if args.reverse { None } else { Some(block(&context.exe, &context.root, shell)) };
        let after = replace(&before, block.as_deref());
        let word = if before == after { "no change" } else { "modified" };
        report::say(context, &format!("{word:<13} {}", file.display()));
        changed |= before != after;
        if before != after && !context.dry_run {
            write(&file, &after)?;
        }
    }
    let note = if changed {
        "\n==> For changes to take effect, close and re-open your current shell. <==\n"
    } else {
        "No action taken."
    };
    report::say(context, note);
    Ok(())
}

fn file(context: &Context, shell: &str, system: bool) -> Result<PathBuf> {
    if system {
        return Ok(PathBuf::from("/etc/profile.d/conda.sh"));
    }
    let home = context.home.clone().ok_or_else(|| Error::new("conda init: HOME is not set"))?;
    match shell {
        "bash" => Ok(home.join(".bashrc")),
        "zsh" => Ok(context.var("ZDOTDIR").map_or(home, PathBuf::from).join(".zshrc")),
        other => {
            Err(Error::named("NotImplementedError", format!("conda init does not know the shell {other}"))
                .with_hint("bash and zsh work; in others: conda run -n NAME COMMAND"))
        }
    }
}

/// conda's own block.
fn block(exe: &Path, root: &Path, shell: &str) -> String {
    let (exe, root) = (exe.display(), root.display());
    format!(
        "{BEGIN}\n# !! Contents within this block are managed by 'conda init' !!\n\
         __conda_setup=\"$('{exe}' 'shell.{shell}' 'hook' 2> /dev/null)\"\n\
         if [ $? -eq 0 ]; then\n    eval \"$__conda_setup\"\nelse\n    if [ -f \"{root}/etc/profile.d/conda.sh\" ]; then\n        \
         . \"{root}/etc/profile.d/conda.sh\"\n    else\n        export PATH=\"{root}/bin:$PATH\"\n    fi\nfi\nunset __conda_setup\n{END}"
    )
}

/// The text with this block instead of the one it has; without one, with none.
fn replace(text: &str, block: Option<&str>) -> String {
    let found =
        text.find(BEGIN).and_then(|start| Some((start, start + text[start..].find(END)? + END.len())));
    match (found, block) {
        (Some((start, end)), Some(block)) => format!("{}{block}{}", &text[..start], &text[end..]),
        (Some((start, end)), None) => {
            let tail = text[end..].strip_prefix('\n').unwrap_or(&text[end..]);
            format!("{}{tail}", text[..start].strip_suffix('\n').unwrap_or(&text[..start]))
        }
        (None, Some(block)) => {
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            format!("{text}{gap}\n{block}\n")
        }
        (None, None) => text.to_owned(),
    }
}

/// A link (dotfiles kept elsewhere) stays one; the mode stays.
fn write(file: &Path, text: &str) -> Result<()> {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mode = std::fs::metadata(&real).map(|meta| meta.permissions()).ok();
    write_whole(&real, text)?;
    match mode {
        Some(mode) => std::fs::set_permissions(&real, mode)
            .context(|| format!("keeping the mode of {}", real.display())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_comes_once_and_goes_without_a_trace() {
        let block = block(Path::new("/opt/conda/bin/conda"), Path::new("/opt/conda"), "bash");
        for before in ["alias a=b\n", "", "no newline"] {
            let once = replace(before, Some(&block));
            assert_eq!(replace(&once, Some(&block)), once);
            assert!(once.contains("'/opt/conda/bin/conda' 'shell.bash' 'hook'"));
            assert_eq!(replace(&once, None).trim_end(), before.trim_end());
        }
    }
}
