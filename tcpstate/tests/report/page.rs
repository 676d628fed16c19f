//! Reads a page as a browser does.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

const VOID: [&str; 2] = ["meta", "br"];
const ELEMENTS: &[&str] = &[
    "a", "article", "b", "body", "circle", "code", "dd", "defs", "desc", "details", "div", "dl",
    "dt", "footer", "g", "h1", "h2", "h3", "h4", "head", "header", "html", "li", "line", "main",
    "p", "path", "pattern", "pre", "rect", "section", "span", "strong", "style", "summary", "svg",
    "table", "tbody", "td", "text", "th", "thead", "time", "title", "tr", "ul",
];

#[derive(Default)]
pub(crate) struct Seen {
    open: Vec<String>,
    ids: Vec<String>,
    links: Vec<String>,
    pub(crate) text: String,
}

struct Sink(RefCell<Seen>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut seen = self.0.borrow_mut();
        match token {
            Token::ParseError(error) => panic!("not well-formed: {error}"),
            Token::TagToken(tag) => seen.tag(&tag),
            Token::CharacterTokens(text) => seen.text.push_str(&text),
            Token::CommentToken(_) => panic!("a comment"),
            Token::DoctypeToken(_) | Token::NullCharacterToken | Token::EOFToken => {}
        }
        TokenSinkResult::Continue
    }
}

impl Seen {
    fn tag(&mut self, tag: &Tag) {
        let name = tag.name.to_string();
        if VOID.contains(&name.as_str()) {
            return;
        }
        assert!(ELEMENTS.contains(&name.as_str()), "an element <{name}>");
        for attribute in &tag.attrs {
            let key = attribute.name.local.to_string();
            assert!(
                !key.starts_with("on") && key != "src" && key != "style",
                "<{name} {key}>"
            );
            match key.as_str() {
                "href" => self.links.push(attribute.value.to_string()),
                "id" => self.ids.push(attribute.value.to_string()),
                _ => {}
            }
        }
        match tag.kind {
            TagKind::StartTag if !tag.self_closing => self.open.push(name),
            TagKind::StartTag => {}
            TagKind::EndTag => assert_eq!(self.open.pop().as_deref(), Some(name.as_str())),
        }
    }
}

/// Everything is closed, known, and within the page.
#[track_caller]
pub(crate) fn check(page: &str) -> Seen {
    let sink = Sink(RefCell::default());
    let tokenizer = Tokenizer::new(
        sink,
        TokenizerOpts {
            exact_errors: true,
            ..TokenizerOpts::default()
        },
    );
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(page));
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let seen = tokenizer.sink.0.into_inner();
    assert!(seen.open.is_empty(), "never closed: {:?}", seen.open);
    for link in &seen.links {
        let target = link.strip_prefix('#').expect("links stay on the page");
        assert!(
            seen.ids.iter().any(|id| id == target),
            "{link} leads nowhere"
        );
    }
    let mut ids = seen.ids.clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), seen.ids.len(), "an id twice");
    assert!(!page.contains("http://") && !page.contains("https://"));
    seen
}
