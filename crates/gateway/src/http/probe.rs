//! Health checks of load balancers.

use bytes::Bytes;

use framing::http::{Request, response_head};

/// The response to a health check, head and body: to any OPTIONS request, as sent by HAProxy, and
/// to a GET or HEAD of `path`. `None` for other requests.
pub(crate) fn answer(request: &Request, path: Option<&str>) -> Option<(Bytes, Bytes)> {
    let (fields, body) = match request.method.as_str() {
        "OPTIONS" => ("Allow: GET, HEAD, OPTIONS\r\n", ""),
        "GET" | "HEAD" if Some(request.handshake.path()) == path => {
            ("Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n", "ok\n")
        }
        _ => return None,
    };
    let head = response_head("200 OK", fields, body.len(), request.keep_alive);
    let body = if request.method == "HEAD" { "" } else { body };
    Some((head, Bytes::from_static(body.as_bytes())))
}

#[cfg(test)]
mod tests {
    use framing::http::parse;

    use super::*;

    #[test]
    fn health_check_is_options_or_get_of_its_path() {
        let checked = |line: &str, path| {
            let request = parse(format!("{line} HTTP/1.0\r\n\r\n").as_bytes()).unwrap().unwrap().0;
            let (head, body) = answer(&request, path)?;
            let head = String::from_utf8(head.to_vec()).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{line}: {head}");
            assert!(head.contains("Connection: close\r\n"), "{line}: {head}");
            Some((head, body))
        };
        let path = Some("/healthz");
        for line in ["OPTIONS /", "OPTIONS *", "OPTIONS /any"] {
            let (head, body) = checked(line, None).unwrap();
            assert!(head.contains("Allow: GET") && body.is_empty(), "{line}: {head}");
        }
        for line in ["GET /healthz", "GET /healthz?x=y"] {
            assert_eq!(checked(line, path).unwrap().1, "ok\n", "{line}");
        }
        let (head, body) = checked("HEAD /healthz", path).unwrap();
        assert!(head.contains("Content-Length: 3\r\n") && body.is_empty(), "{head}");
        for line in ["GET /", "GET /healthz/", "POST /healthz", "GET /HEALTHZ"] {
            assert!(checked(line, path).is_none(), "{line}");
        }
        assert!(checked("GET /healthz", None).is_none());
    }
}
