//! Paths that a proxy has left in front of those of the API, through a socket.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// The status and the body of the answer to a request.
async fn ask(address: std::net::SocketAddr, request: Request) -> (u16, String) {
    let (head, _) = request.into_parts();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text =
        format!("{} {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", head.method, head.uri);
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn request_is_answered_below_a_prefix_of_any_usual_depth() {
    let scene = Scene::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // As the listener of a process merges it with its other routes.
    let others =
        Router::new().route("/v1/{a}/{b}", any(async || "other")).merge(routes(scene.api.clone()));
    let serving = tokio::spawn(axum::serve(listener, others).into_future());
    for prefix in ["", "/push", "/push/v1", "/v1/x", "/a/b/c", "/1/2/3/4/5/6/7/8"] {
        let request = Sent::get(&format!("{prefix}/apps/1/channels")).request();
        let expected = (200, r#"{"channels":{}}"#.to_owned());
        assert_eq!(ask(address, request).await, expected, "signed with {prefix}");
        // The signature of a library that does not know of the prefix.
        let uri = Sent::get("channels").request().uri().to_string();
        let request = Request::get(format!("{prefix}{uri}")).body(Body::empty()).unwrap();
        assert_eq!(ask(address, request).await, expected, "behind {prefix}");
        let request = Sent::get(&format!("{prefix}/users/7/terminate_connections")).request();
        assert_eq!(ask(address, request).await.0, 405, "{prefix}");
    }
    let request = Sent::get("/1/2/3/4/5/6/7/8/9/apps/1/channels").request();
    assert_eq!(ask(address, request).await.0, 404);
    let request = Sent::get("/v1/x/y").request();
    assert_eq!(ask(address, request).await, (200, "other".to_owned()));
    serving.abort();
}
