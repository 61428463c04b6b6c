//! What the crates can say, read from their sources.
//!
//! A message is a text that reaches one of a few calls ([`SAYING`]): as a
//! literal, through `format!`, out of a branch, or by the name of a `let`,
//! `const`, closure or function of the same file. Where the text is a parameter, it
//! is looked for where the function is called. What is filled in is written `…`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

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
    ("Err", 0),
    ("ok_or", 0),
    ("ok_or_else", 0),
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

/// Every message of a crate's sources, in their order, each once.
pub(super) fn messages(sources: &[(PathBuf, String)]) -> Vec<Message> {
    let parse = |(path, text): &(PathBuf, String)| {
        syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let files: Vec<syn::File> = sources.iter().map(parse).collect();
    let mut passing = BTreeSet::new();
    loop {
        let mut found = Vec::new();
        let known = passing.len();
        for file in &files {
            let mut names = Names::default();
            names.visit_file(file);
            let mut collector = Collector {
                names: names.0,
                passing,
                found: Vec::new(),
                open: Vec::new(),
                within: Vec::new(),
            };
            collector.visit_file(file);
            found.extend(collector.found);
            passing = collector.passing;
        }
        // Nothing new passes a text on: all calls are known.
        if passing.len() == known {
            return once(found);
        }
    }
}

/// Each text once, with all of its hints.
fn once(found: Vec<Message>) -> Vec<Message> {
    let mut once: Vec<Message> = Vec::new();
    for message in found {
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

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.result_of(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.result_of(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_const(&mut self, item: &'a syn::ItemConst) {
        self.0.entry(item.ident.to_string()).or_default().push((*item.expr).clone());
    }
}

impl Names {
    /// A call of a function stands for what it ends with.
    fn result_of(&mut self, signature: &syn::Signature, block: &syn::Block) {
        if let Some(syn::Stmt::Expr(result, None)) = block.stmts.last() {
            self.0.entry(signature.ident.to_string()).or_default().push(result.clone());
        }
    }
}

struct Collector {
    names: BTreeMap<String, Vec<Expr>>,
    /// Functions of the crate that say one of their parameters, and which.
    passing: BTreeSet<(String, usize)>,
    found: Vec<Message>,
    /// Hints of the chain of calls that is being read, outermost first.
    open: Vec<String>,
    /// The functions that are being read, and their parameters.
    within: Vec<(String, Vec<String>)>,
}

impl Collector {
    fn say(&mut self, argument: Option<&Expr>) {
        let Some(argument) = argument else { return };
        let hints = self.open.clone();
        let texts = self.texts(argument);
        self.found.extend(texts.into_iter().map(|text| Message { text, hints: hints.clone() }));
    }

    /// Every text an expression can become; a parameter's come from the callers.
    fn texts(&mut self, expr: &Expr) -> Vec<String> {
        let mut reader = Reader { names: &self.names, found: Vec::new(), used: BTreeSet::new(), depth: 0 };
        reader.visit_expr(expr);
        let (found, used) = (reader.found, reader.used);
        if let Some((function, parameters)) = self.within.last() {
            let passed = parameters.iter().enumerate().filter(|(_, name)| used.contains(*name));
            self.passing.extend(passed.map(|(index, _)| (function.clone(), index)));
        }
        found
    }

    /// Which arguments of a call of that name are said.
    fn said(&self, name: &str) -> Vec<usize> {
        let known = SAYING.iter().filter(|(saying, _)| *saying == name).map(|(_, index)| *index);
        let passed = self.passing.iter().filter(|(function, _)| function == name).map(|(_, index)| *index);
        known.chain(passed).collect()
    }

    fn enter(&mut self, signature: &syn::Signature) {
        let name = |input: &syn::FnArg| match input {
            syn::FnArg::Typed(typed) => match &*typed.pat {
                syn::Pat::Ident(name) => Some(name.ident.to_string()),
                _ => Some(String::new()),
            },
            syn::FnArg::Receiver(_) => None,
        };
        self.within.push((signature.ident.to_string(), signature.inputs.iter().filter_map(name).collect()));
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

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.enter(&item.sig);
        visit::visit_item_fn(self, item);
        self.within.pop();
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.enter(&item.sig);
        visit::visit_impl_item_fn(self, item);
        self.within.pop();
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
            for index in self.said(&name.ident.to_string()) {
                self.say(call.args.iter().nth(index));
            }
            if name.ident == "new" && of_error {
                self.say(call.args.first());
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
        }
        for index in self.said(&call.method.to_string()) {
            self.say(call.args.iter().nth(index));
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
    /// Names that were met.
    used: BTreeSet<String>,
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
                self.used.insert(name.clone());
                // By value: names of another lifetime than the expression's.
                for meaning in self.names.get(&name).cloned().unwrap_or_default() {
                    let (found, used) = (Vec::new(), BTreeSet::new());
                    let mut reader = Reader { names: self.names, found, used, depth: self.depth + 1 };
                    reader.visit_expr(&meaning);
                    self.found.extend(reader.found);
                    self.used.extend(reader.used);
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
                if matches!(
                    &*call.receiver,
                    Expr::Lit(_) | Expr::Macro(_) | Expr::Paren(_) | Expr::Path(_)
                ) =>
            {
                self.visit_expr(&call.receiver);
            }
            Expr::MethodCall(call) if call.method == "unwrap_or_else" || call.method == "map_or_else" => {
                call.args.iter().for_each(|argument| self.visit_expr(argument));
            }
            Expr::MethodCall(_) => {}
            Expr::Call(call) => self.visit_expr(&call.func),
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
            fn which(a: u8) -> String { let b = a; format!("the only way out is {b}") }
            fn k() -> Error { Error::usage("it is not known").with_hint(which(3)) }
            fn g(e: Error) -> Error { e.with_hint("a hint on its own") }
            fn open(path: &Path, what: &str) { a(path).context(|| what.to_owned()) }
            fn caller() { open(p, "opening the lid of it"); }
            fn h() -> Error { Error::usage(format!("{}: {}", a, b)) }
            impl fmt::Display for Error { fn fmt() { write!(f, "cannot open {}: {e}", 1) } }
            #[cfg(test)] mod tests { fn t() { Error::failure("of a test alone"); } }
        "#;
        let found = messages(&[("x.rs".into(), source.to_owned())]);
        let texts: Vec<&str> = found.iter().map(|m| m.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "reading the file …",
                "writing the one file",
                "there is one of them",
                "there are {} of them",
                "it is not known",
                "a hint on its own",
                "opening the lid of it",
                "cannot open …: …"
            ]
        );
        assert_eq!(found[2].hints, ["look into the log"]);
        assert_eq!(found[4].hints, ["the only way out is …"]);
        assert!(found[0].hints.is_empty());
    }
}
