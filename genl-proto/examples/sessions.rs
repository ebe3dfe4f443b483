// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints the module's settings and sessions, then every session that ends.
//!
//! Shows how the family is used through the `genetlink` crate: a command, a
//! dump, and the events, which get a connection of their own because a socket
//! can join the group only before its connection runs. Needs `CAP_NET_ADMIN`.

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use genetlink::GenetlinkHandle;
use genl_proto::generated::GROUP_EVENTS;
use genl_proto::{Answer, Message, Refusal, Request};
use netlink_packet_core::NetlinkPayload;
use netlink_proto::sys::AsyncSocket;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (mut connection, mut handle, _) = genetlink::new_connection()?;
    // The kernel explains its errors to those who ask.
    connection.socket_mut().socket_mut().set_ext_ack(true)?;
    // Without this a dump that fails looks like one that ended.
    connection.set_forward_done(true);
    tokio::spawn(connection);

    // Subscribe before the dump, so that no session ends unseen in between.
    let family = handle
        .resolve_family::<Message>()
        .await
        .context("is the kernel module loaded?")?;
    let group = family
        .multicast_groups
        .get(GROUP_EVENTS)
        .context("the family has no group for events")?;
    let (mut connection, _events_handle, mut events) = genetlink::new_connection()?;
    let socket = connection.socket_mut().socket_mut();
    socket.add_membership(*group)?;
    tokio::spawn(connection);

    for request in [Request::ConfigGet, Request::SessionDump] {
        for answer in ask(&mut handle, &request).await? {
            println!("{answer:#?}");
        }
    }
    while let Some((message, _)) = events.next().await {
        match message.payload {
            NetlinkPayload::InnerMessage(raw) => {
                let message = raw.parse_into_genlmsg::<Message>()?.payload;
                println!("{:#?}", message.answer()?);
            }
            NetlinkPayload::Overrun(_) => println!("events were lost: dump again"),
            _ => {}
        }
    }
    bail!("the connection to the kernel has ended")
}

/// What the kernel answers to a request.
async fn ask(handle: &mut GenetlinkHandle, request: &Request) -> Result<Vec<Answer>> {
    let mut stream = handle.request(request.try_into()?).await?;
    let mut answers = Vec::new();
    while let Some(message) = stream.next().await {
        let message = message?;
        if let Some(refusal) = Refusal::of(&message) {
            return Err(refusal.into());
        }
        if let NetlinkPayload::InnerMessage(message) = message.payload {
            answers.push(message.payload.answer()?);
        }
    }
    Ok(answers)
}
