// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is installed next to the program: manual pages and shell completions.
//!
//! All of it comes from the definitions of the command line ([`cli::command`]) and of the
//! configuration ([`Settings::keys`]).

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::cli;
use crate::config::{DEFAULT_FILE, Key, Settings, flag, variable};

const MANUAL: &str = "lreproxy";

/// A file below /usr/share: its path there, and what it holds.
pub type Document = (String, Vec<u8>);

/// Writes all documents below `share`, and tells their paths.
pub fn install(share: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for (path, text) in all()? {
        let file = share.join(&path);
        fs::create_dir_all(file.parent().unwrap_or(share))?;
        fs::write(&file, text)?;
        paths.push(path);
    }
    Ok(paths)
}

/// All documents.
pub fn all() -> io::Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut command = cli::command().disable_help_subcommand(true);
    command.build();
    program_pages(&command, &mut documents)?;
    let settings = settings_page(&Settings::keys().map_err(io::Error::other)?)?;
    documents.push(("man/man5/lrep-cl.toml.5".to_owned(), settings));
    for (shell, path) in [
        (Shell::Bash, "bash-completion/completions/lrep-cl"),
        (Shell::Zsh, "zsh/vendor-completions/_lrep-cl"),
        (Shell::Fish, "fish/vendor_completions.d/lrep-cl.fish"),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut cli::command(), "lrep-cl", &mut script);
        documents.push((path.to_owned(), script));
    }
    Ok(documents)
}

/// lrep-cl(8), and a page for each verb.
fn program_pages(command: &Command, documents: &mut Vec<Document>) -> io::Result<()> {
    let man = Man::new(command.clone()).section("8").manual(MANUAL);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::new();
    let mut related = "lrep-cl(8), lrep-cl.toml(5)";
    if command.get_name() == "lrep-cl" {
        related = "lrep-cl-run(8), lrep-cl.toml(5)";
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in cli::CODES {
            roff.control("TP", []).text([bold(code.to_string())]);
            roff.text([roman(meaning)]);
        }
        roff.control("SH", ["FILES"]);
        roff.control("TP", []).text([italic(DEFAULT_FILE)]);
        roff.text([roman("The configuration, see lrep-cl.toml(5).")]);
    }
    see_also(&mut roff, related);
    roff.to_writer(&mut page)?;
    documents.push((format!("man/man8/{}", man.get_filename()), page));
    for verb in command.get_subcommands() {
        program_pages(verb, documents)?;
    }
    Ok(())
}

/// lrep-cl.toml(5).
fn settings_page(keys: &[Key]) -> io::Result<Vec<u8>> {
    let source = concat!("lrep-cl ", env!("CARGO_PKG_VERSION"));
    let mut roff = Roff::new();
    roff.control("TH", ["lrep-cl.toml", "5", "", source, MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(
        "lrep-cl.toml - configuration of the controller of the lreproxy RTP relay",
    )]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([italic(DEFAULT_FILE)]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(
        "A TOML file of the keys below; all but internal_ip have a default. Each is a flag of \
         lrep-cl-run(8) and an environment variable, too: flags win over the environment, the \
         environment over the file. In flags and variables, lists are separated by commas. Unknown \
         keys and bad values are errors.",
    )]);
    roff.control("PP", []);
    roff.text([
        bold("lrep-cl config check"),
        roman(" checks a file, "),
        bold("lrep-cl config example"),
        roman(" prints one with all keys. The daemon reads its file when it starts, and "),
        bold("lrep-cl reload"),
        roman(" applies the reloadable keys of a changed one."),
    ]);
    roff.control("SH", ["KEYS"]);
    for key in keys {
        roff.control("TP", []);
        let mut head = vec![bold(&*key.name), roman(" = ")];
        head.push(italic(key.value()));
        if key.default.is_none() {
            head.push(roman(" (an example)"));
        }
        roff.text(head);
        roff.text([
            roman(&*key.help),
            Inline::LineBreak,
            roman("As "),
            bold(flag(&key.name)),
            roman(" or "),
            bold(variable(&key.name)),
            roman("."),
        ]);
    }
    see_also(&mut roff, "lrep-cl(8), lrep-cl-run(8)");
    let mut page = Vec::new();
    roff.to_writer(&mut page)?;
    Ok(page)
}

fn see_also(roff: &mut Roff, pages: &str) {
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page as a reader sees it, without the marks of its typesetting.
    fn page(name: &str) -> String {
        let documents = all().expect("made");
        let (_, text) = documents
            .iter()
            .find(|(path, _)| path.ends_with(name))
            .unwrap_or_else(|| panic!("no {name}"));
        let text = String::from_utf8(text.clone()).expect("text");
        let text = text.replace("\\-", "-").replace("\\*(Aq", "'");
        text.replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "")
    }

    fn check(command: &Command, title: &str) {
        let text = page(&format!("{title}.8"));
        for arg in command.get_arguments() {
            let name = arg
                .get_long()
                .map(|long| format!("--{long}"))
                .or(arg.get_value_names().map(|names| names[0].to_string()))
                .expect("a flag or a value");
            assert!(text.contains(&name), "{title}: {name} in\n{text}");
            if let Some(variable) = arg.get_env() {
                let variable = variable.to_string_lossy();
                assert!(text.contains(&*variable), "{title}: {variable}");
            }
        }
        for verb in command.get_subcommands() {
            let name = format!("{title}-{}", verb.get_name());
            assert!(text.contains(&format!("{name}(8)")), "{title}: {name}");
            check(verb, &name);
        }
    }

    #[test]
    fn the_manual_names_every_verb_flag_and_environment_variable() {
        check(&cli::command(), "lrep-cl");
        assert!(page("lrep-cl-run.8").contains("LREP_IDLE_TIMEOUT_MAX"));
    }

    #[test]
    fn the_manual_names_every_key_with_its_default_flag_and_variable() {
        let text = page("lrep-cl.toml.5");
        let keys = Settings::keys().expect("keys");
        assert!(keys.len() > 10);
        for key in keys {
            for part in [
                format!("{} = {}", key.name, key.value()),
                flag(&key.name),
                variable(&key.name),
            ] {
                assert!(text.contains(&part), "{part} in\n{text}");
            }
        }
    }

    #[test]
    fn the_manual_names_every_exit_code() {
        let text = page("lrep-cl.8");
        for (code, meaning) in cli::CODES {
            assert!(text.contains(&format!("\n{code}\n{meaning}\n")), "{text}");
        }
    }

    #[test]
    fn every_shell_completes_every_flag() {
        for name in ["completions/lrep-cl", "_lrep-cl", "lrep-cl.fish"] {
            let text = page(name);
            for verb in cli::command().get_subcommands() {
                assert!(text.contains(verb.get_name()), "{name}");
                for long in verb.get_arguments().filter_map(clap::Arg::get_long) {
                    assert!(text.contains(long), "{name}: {long}");
                }
            }
        }
    }
}
