//! What the crates can say, read from their sources.
//!
//! A message is a text that reaches one of a few calls ([`SAYING`]): as a
//! literal, through `format!`, out of a branch, or by the name of a `let`,
//! `const` or closure of the same file. What is filled in is written `…`.

use std::collections::BTreeMap;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Expr, Lit, Macro, Token};

/// Calls whose argument is read by people, and which argument it is.
const SAYING: &[(&str, usize)] = &[
    ("failure", 0),
    ("usage", 0),
    ("named", 1),
    ("value", 0),
    ("fail", 0),
    ("explain", 1),
    ("refused", 0),
    ("context", 0),
];

/// The call that adds what to do.
const HINTING: &str = "with_hint";

/// Letters below which a text is only a frame around others.
const FEWEST_LETTERS: usize = 8;

/// What can be said, and the hints that come with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) hints: Vec<String>,
}

/// Every message of a source, in its order, each once.
pub(super) fn messages(source: &str, path: &Path) -> Vec<Message> {
    let file = syn::parse_file(source).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names = Names::default();
    names.visit_file(&file);
    let mut collector = Collector { names: names.0, found: Vec::new(), open: Vec::new() };
    collector.visit_file(&file);
    let mut once: Vec<Message> = Vec::new();
    for message in collector.found {
        match once.iter_mut().find(|known| known.text == message.text) {
            Some(known) => known.hints.extend(message.hints),
            None => once.push(message),
        }
    }
    for message in &mut once {
        message.hints.sort();
        message.hints.dedup();
    }
    once
}

/// What names of the file stand for.
#[derive(Default)]
struct Names(BTreeMap<String, Vec<Expr>>);

impl<'a> Visit<'a> for Names {
    fn visit_local(&mut self, local: &'a syn::Local) {
        if let (syn::Pat::Ident(name), Some(init)) = (&local.pat, &local.init) {
            self.0.entry(name.ident.to_string()).or_default().push((*init.expr).clone());
        }
        visit::visit_local(self, local);
    }

    fn visit_item_const(&mut self, item: &'a syn::ItemConst) {
        self.0.entry(item.ident.to_string()).or_default().push((*item.expr).clone());
    }
}

struct Collector {
    names: BTreeMap<String, Vec<Expr>>,
    found: Vec<Message>,
    /// Hints of the chain of calls that is being read, outermost first.
    open: Vec<String>,
}

impl Collector {
    fn say(&mut self, argument: Option<&Expr>) {
        let hints = self.open.clone();
        let texts = argument.map(|argument| self.texts(argument)).unwrap_or_default();
        self.found.extend(texts.into_iter().map(|text| Message { text, hints: hints.clone() }));
    }

    /// Every text an expression can become.
    fn texts(&self, expr: &Expr) -> Vec<String> {
        let mut reader = Reader { names: &self.names, found: Vec::new(), depth: 0 };
        reader.visit_expr(expr);
        reader.found
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let text = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    };
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg") && text(attribute) == "test")
}

impl<'a> Visit<'a> for Collector {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        if let Expr::Path(function) = &*call.func
            && let Some(name) = function.path.segments.last()
        {
            let of_error = function
                .path
                .segments
                .iter()
                .rev()
                .nth(1)
                .is_some_and(|s| s.ident == "Error" || s.ident == "Self");
            let says = SAYING.iter().find(|(saying, _)| name.ident == saying);
            match says {
                Some((_, argument)) => self.say(call.args.iter().nth(*argument)),
                None if name.ident == "new" && of_error => self.say(call.args.first()),
                None => {}
            }
        }
        // Hints of a chain are for what it begins with, not for what stands within its arguments.
        let open = std::mem::take(&mut self.open);
        call.args.iter().for_each(|argument| self.visit_expr(argument));
        self.open = open;
        self.visit_expr(&call.func);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let depth = self.open.len();
        if call.method == HINTING {
            let hints = call.args.first().map(|argument| self.texts(argument)).unwrap_or_default();
            self.open.extend(hints.clone());
            // A hint that is given to an error made elsewhere stands alone.
            if !begins_with_error(&call.receiver) {
                self.found.extend(hints.into_iter().map(|text| Message { text, hints: Vec::new() }));
            }
        } else if let Some((_, argument)) = SAYING.iter().find(|(saying, _)| call.method == saying) {
            self.say(call.args.iter().nth(*argument));
        }
        self.visit_expr(&call.receiver);
        let open = std::mem::take(&mut self.open);
        call.args.iter().for_each(|argument| self.visit_expr(argument));
        self.open = open;
        self.open.truncate(depth);
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let shows = item
            .trait_
            .as_ref()
            .is_some_and(|(_, path, _)| path.segments.last().is_some_and(|s| s.ident == "Display"));
        let error = matches!(&*item.self_ty, syn::Type::Path(of) if of.path.segments.last().is_some_and(|s| s.ident.to_string().ends_with("Error")));
        if shows && error {
            let mut writes = Writes(Vec::new());
            writes.visit_item_impl(item);
            self.found.extend(writes.0.into_iter().map(|text| Message { text, hints: Vec::new() }));
        }
        visit::visit_item_impl(self, item);
    }
}

/// True for a chain of method calls on `Error::…(…)`, or on something that says one.
fn begins_with_error(expr: &Expr) -> bool {
    match expr {
        Expr::MethodCall(call) => {
            SAYING.iter().any(|(saying, _)| call.method == saying) || begins_with_error(&call.receiver)
        }
        Expr::Call(_) => true,
        _ => false,
    }
}

/// `write!` in the `Display` of an error.
struct Writes(Vec<String>);

impl<'a> Visit<'a> for Writes {
    fn visit_macro(&mut self, called: &'a Macro) {
        if called.path.is_ident("write") {
            self.0.extend(format_text(called, 1));
        }
    }
}

struct Reader<'a> {
    names: &'a BTreeMap<String, Vec<Expr>>,
    found: Vec<String>,
    depth: usize,
}

impl<'a> Visit<'a> for Reader<'_> {
    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Lit(literal) => {
                if let Lit::Str(text) = &literal.lit {
                    self.found.extend(worth(&plain(&text.value())));
                }
            }
            Expr::Macro(called)
                if called.mac.path.is_ident("format") || called.mac.path.is_ident("concat") =>
            {
                self.found.extend(format_text(&called.mac, 0));
            }
            Expr::Path(path) if self.depth < 4 => {
                let name = path.path.get_ident().map(ToString::to_string).unwrap_or_default();
                // By value: names of another lifetime than the expression's.
                for meaning in self.names.get(&name).cloned().unwrap_or_default() {
                    let mut reader = Reader { names: self.names, found: Vec::new(), depth: self.depth + 1 };
                    reader.visit_expr(&meaning);
                    self.found.extend(reader.found);
                }
            }
            // What is looked for or compared is not said.
            Expr::Match(chosen) => chosen.arms.iter().for_each(|arm| self.visit_expr(&arm.body)),
            Expr::If(chosen) => {
                self.visit_block(&chosen.then_branch);
                if let Some((_, other)) = &chosen.else_branch {
                    self.visit_expr(other);
                }
            }
            Expr::MethodCall(call)
                if matches!(&*call.receiver, Expr::Lit(_) | Expr::Macro(_) | Expr::Paren(_)) =>
            {
                self.visit_expr(&call.receiver);
            }
            Expr::MethodCall(call) if call.method == "unwrap_or_else" || call.method == "map_or_else" => {
                call.args.iter().for_each(|argument| self.visit_expr(argument));
            }
            Expr::MethodCall(_) => {}
            Expr::Call(call) if call.args.is_empty() => self.visit_expr(&call.func),
            Expr::Call(_) => {}
            _ => visit::visit_expr(self, expr),
        }
    }
}

/// The text of `format!` and its kin, `skip` arguments in.
fn format_text(called: &Macro, skip: usize) -> Option<String> {
    let parse = |input: syn::parse::ParseStream<'_>| {
        for _ in 0..skip {
            input.parse::<Expr>()?;
            input.parse::<Token![,]>()?;
        }
        let text: syn::LitStr = input.parse()?;
        input.parse::<proc_macro2::TokenStream>()?;
        Ok(text.value())
    };
    let text = called.parse_body_with(parse).ok()?;
    worth(&filled_in(&text))
}

/// Braces of a format string become `…`.
fn filled_in(text: &str) -> String {
    let mut out = String::new();
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '{' if signs.next_if_eq(&'{').is_some() => out.push('{'),
            '}' => {
                signs.next_if_eq(&'}');
                out.push('}');
            }
            '{' => {
                signs.by_ref().take_while(|sign| *sign != '}').for_each(drop);
                out.push('…');
            }
            _ => out.push(sign),
        }
    }
    plain(&out)
}

/// On one line, single blanks.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn worth(text: &str) -> Option<String> {
    let letters = text.chars().filter(|sign| sign.is_alphabetic()).count();
    (letters >= FEWEST_LETTERS && text.contains(' ')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_come() {
        let source = r#"
            const WHERE: &str = "look into the log";
            fn f() -> Result<()> {
                let what = || format!("reading the file {}", path.display());
                read().context(what)?;
                write().context(|| "writing the one file".to_owned())?;
                Err(Error::failure(match x { 1 => "there is one of them", _ => "there are {} of them" })
                    .with_kind(Kind::Usage)
                    .with_hint(WHERE))
            }
            fn g(e: Error) -> Error { e.with_hint("a hint on its own") }
            fn h() -> Error { Error::usage(format!("{}: {}", a, b)) }
            impl fmt::Display for Error { fn fmt() { write!(f, "cannot open {}: {e}", 1) } }
            #[cfg(test)] mod tests { fn t() { Error::failure("of a test alone"); } }
        "#;
        let found = messages(source, Path::new("x.rs"));
        let texts: Vec<&str> = found.iter().map(|m| m.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "reading the file …",
                "writing the one file",
                "there is one of them",
                "there are {} of them",
                "a hint on its own",
                "cannot open …: …"
            ]
        );
        assert_eq!(found[2].hints, ["look into the log"]);
        assert!(found[0].hints.is_empty());
    }
}
