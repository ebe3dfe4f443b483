// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ending dialogs in Kamailio: its module jsonrpcs takes JSON-RPC 2.0 in datagrams
//! (`dgram_socket`), its module dialog has the commands.
//!
//! `dlg.terminate_dlg` wants both tags besides the Call-ID, and `dlg.dlg_list` tells them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use super::{PATIENCE, TRIES, Target, untold};
use crate::logging::CallId;

/// Longest answer: that of a UDP datagram.
const ANSWER_MAX: usize = 65_535;

/// Has dialogs ended as calls come.
pub async fn tell(address: SocketAddr, mut calls: mpsc::Receiver<Vec<u8>>) {
    let target = Target::JsonRpc(address);
    let mut client: Option<Client> = None;
    while let Some(call_id) = calls.recv().await {
        let ended = async {
            let client = match &mut client {
                Some(client) => client,
                None => client.insert(Client::connect(address).await.map_err(Failure::Away)?),
            };
            end(client, &call_id).await
        };
        match ended.await {
            Ok(0) => debug!(call_id = %CallId(&call_id), "{target} knows no such dialog"),
            Ok(_) => info!(call_id = %CallId(&call_id), "{target} ends the dialog"),
            Err(failure) => {
                client = None;
                untold(&target, &call_id, &failure);
            }
        }
    }
}

/// Why a dialog was not ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}; is Kamailio there, and does its module jsonrpcs have this dgram_socket?")]
    Away(io::Error),
    #[error("it did not answer; does Kamailio's module jsonrpcs have this dgram_socket?")]
    Silent,
    #[error("it answered `{0}`; is Kamailio's module dialog loaded, and dlg_manage() called?")]
    Refused(String),
    #[error("its Call-ID is no UTF-8, which JSON cannot carry")]
    NotText,
}

/// Ends the dialogs of a call; tells how many there were.
async fn end(client: &mut Client, call_id: &[u8]) -> Result<usize, Failure> {
    let call_id = std::str::from_utf8(call_id).map_err(|_| Failure::NotText)?;
    let list = client.ask("dlg.dlg_list", &json!([call_id])).await?;
    let tags = match list {
        Ok(list) => tags(&list, call_id),
        Err(error) if is_unknown(&error) => return Ok(0),
        Err(error) => return Err(Failure::Refused(error)),
    };
    for (from, to) in &tags {
        let parameters = json!([call_id, from, to]);
        match client.ask("dlg.terminate_dlg", &parameters).await? {
            Ok(_) => {}
            // It has just ended by itself.
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(Failure::Refused(error)),
        }
    }
    Ok(tags.len())
}

/// Whether an error says that there is no such dialog, as opposed to no such command.
fn is_unknown(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    error.contains("find dialog") || error.contains("find callid") || error == "dialog not found"
}

/// The tags of both parties in each dialog of the call, anywhere in what `dlg.dlg_list` told.
pub fn tags(list: &Value, call_id: &str) -> Vec<(String, String)> {
    match list {
        Value::Object(dialog) if dialog.get("call-id").is_some_and(|id| id == call_id) => {
            let tag = |party: &str| list[party]["tag"].as_str().map(str::to_owned);
            let both = tag("caller").zip(tag("callee"));
            both.into_iter().collect()
        }
        Value::Object(object) => object
            .values()
            .flat_map(|value| tags(value, call_id))
            .collect(),
        Value::Array(values) => values
            .iter()
            .flat_map(|value| tags(value, call_id))
            .collect(),
        _ => Vec::new(),
    }
}

/// Asks one Kamailio.
#[derive(Debug)]
struct Client {
    socket: UdpSocket,
    id: u64,
}

impl Client {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(Self { socket, id: 0 })
    }

    /// The result of a command, or the message of its error.
    async fn ask(
        &mut self,
        method: &str,
        parameters: &Value,
    ) -> Result<Result<Value, String>, Failure> {
        self.id += 1;
        let request = json!({
            "jsonrpc": "2.0",
            "id": self.id,
            "method": method,
            "params": parameters,
        });
        let request = request.to_string();
        let mut away = None;
        for _ in 0..TRIES {
            let until = Instant::now() + PATIENCE;
            if let Err(error) = self.socket.send(request.as_bytes()).await {
                away = Some(error);
            }
            loop {
                let mut answer = vec![0; ANSWER_MAX];
                match timeout_at(until, self.socket.recv(&mut answer)).await {
                    Err(_) => break,
                    // Nobody listens there; perhaps soon.
                    Ok(Err(error)) => away = Some(error),
                    Ok(Ok(length)) => {
                        if let Some(result) = result(&answer[..length], self.id) {
                            return Ok(result);
                        }
                    }
                }
            }
        }
        Err(away.map_or(Failure::Silent, Failure::Away))
    }
}

/// What an answer to this request says; `None` for anything else.
pub fn result(answer: &[u8], id: u64) -> Option<Result<Value, String>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    if answer["id"] != id {
        return None;
    }
    Some(match answer.get("error") {
        None => Ok(answer["result"].clone()),
        Some(error) => {
            let message = error["message"].as_str().map(str::to_owned);
            Err(message.unwrap_or_else(|| error.to_string()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tags_are_those_of_the_call_however_deep_they_are() {
        let dialog = |call_id: &str, from: &str, to: &str| {
            json!({
                "h_entry": 1, "call-id": call_id, "state": 4,
                "caller": {"tag": from, "contact": "sip:a"}, "callee": {"tag": to},
            })
        };
        let one = dialog("a@b", "f1", "t1");
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(tags(&one, "a@b"), [pair("f1", "t1")]);
        let list = json!([[one, dialog("c@d", "f2", "t2")], dialog("a@b", "f3", "t3")]);
        assert_eq!(tags(&list, "a@b"), [pair("f1", "t1"), pair("f3", "t3")]);
        assert_eq!(tags(&json!({"call-id": "a@b"}), "a@b"), []);
        assert_eq!(tags(&json!(null), "a@b"), []);
    }

    #[test]
    fn an_answer_is_taken_by_its_number_only() {
        let answer = br#"{"jsonrpc":"2.0","result":{"n":1},"id":7}"#;
        assert_eq!(result(answer, 7), Some(Ok(json!({"n": 1}))));
        assert_eq!(result(answer, 8), None);
        assert_eq!(result(b"hello", 7), None);
        let error =
            br#"{"jsonrpc":"2.0","error":{"code":500,"message":"Dialog not found"},"id":7}"#;
        assert_eq!(result(error, 7), Some(Err("Dialog not found".to_owned())));
    }

    #[test]
    fn no_such_dialog_is_another_thing_than_no_such_command() {
        assert!(is_unknown("Couldnt find dialog with callid: 'a'"));
        assert!(is_unknown("Couldnt find callid in dialog 'a' "));
        assert!(!is_unknown("Method Not Found"));
    }
}
