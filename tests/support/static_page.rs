//! A page of another site: one HTML text, served to whoever asks for anything.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The page. Dropped, it is gone.
pub struct StaticPage {
    pub address: String,
    task: JoinHandle<()>,
}

impl StaticPage {
    pub async fn serve(html: String) -> StaticPage {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let length = html.len();
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{html}"
        );
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let reply = reply.clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    if stream.read(&mut request).await.is_ok() {
                        let _ = stream.write_all(reply.as_bytes()).await;
                    }
                });
            }
        });
        StaticPage { address, task }
    }
}

impl Drop for StaticPage {
    fn drop(&mut self) {
        self.task.abort();
    }
}
