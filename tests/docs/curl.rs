//! curl commands, as far as the pages use curl.

/// What a curl command sends, and what it shows.
#[derive(Debug, Default, PartialEq)]
pub struct Request {
    pub method: String,
    /// Scheme, host and port.
    pub base: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Whether the head of the answer is shown (`-i`).
    pub shows_head: bool,
}

/// The request of a command.
pub fn read(command: &str) -> Request {
    let mut request = Request::default();
    let mut words = words(command).into_iter().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value: {command}"));
        match word.as_str() {
            "-i" => request.shows_head = true,
            "-X" => request.method = value(),
            "-d" => request.body = value(),
            "-H" => {
                let header = value();
                let (name, value) = header.split_once(": ").expect("a header has a name");
                request.headers.push((name.to_owned(), value.to_owned()));
            }
            url => {
                let at = url.strip_prefix("http://").and_then(|rest| Some("http://".len() + rest.find('/')?));
                let at = at.unwrap_or_else(|| panic!("unknown to this test: {url}"));
                assert!(request.path.is_empty(), "one command, one request: {command}");
                (request.base, request.path) = (url[..at].to_owned(), url[at..].to_owned());
            }
        }
    }
    if request.method.is_empty() {
        request.method = if request.body.is_empty() { "GET" } else { "POST" }.to_owned();
    }
    request
}

/// The words of one command, as a shell takes them apart: single quotes, and lines that go on.
fn words(command: &str) -> Vec<String> {
    let command = command.replace("\\\n", " ");
    let mut words = Vec::new();
    for (quoted, part) in command.split('\'').enumerate() {
        if quoted % 2 == 1 {
            words.push(part.to_owned());
        } else {
            assert!(!part.contains(['"', '$', '\\', ';', '|']), "the test reads single quotes only: {command}");
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn a_curl_command_is_read_as_a_shell_would() {
    let command = "curl -i -X PUT http://127.0.0.1:8080/a?b=c \\\n  -H 'A: b c' \\\n  -d '{\"d\":\n 1}'\n";
    let request = Request {
        method: "PUT".to_owned(),
        base: "http://127.0.0.1:8080".to_owned(),
        path: "/a?b=c".to_owned(),
        headers: vec![("A".to_owned(), "b c".to_owned())],
        body: "{\"d\":\n 1}".to_owned(),
        shows_head: true,
    };
    assert_eq!(read(command), request);
    assert_eq!(read("curl -d '{}' http://127.0.0.1:8080/a").method, "POST");
    assert_eq!(read("curl 'http://127.0.0.1:8080/a'").method, "GET");
}
