//! Packet faults: the rules of one nftables table of the bridge family, replaced as a whole.
//!
//! Source: linux/netfilter/nf_tables.h; `nft --debug=netlink` shows the same expressions.

use std::io;

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, HookNumber, Immediate,
    InetHookNumber, ListAttribute, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register,
    RuleAttribute, RuleMessage, TableAttribute, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use crate::error::{Result, While};

const TABLE: &str = "lab";
/// `NFNL_SUBSYS_NFTABLES`, the subsystem that a batch is for.
const SUBSYSTEM: u16 = 10;
/// `NF_BR_PRI_FILTER_BRIDGED`.
const PRIORITY: i32 = -200;
/// `NF_ACCEPT` and `NF_DROP`.
const ACCEPT: u32 = 1;
const DROP: u32 = 0;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`.
const TRANSPORT_HEADER: u32 = 2;
const UDP: u8 = 17;

/// Where in the bridge a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A frame has come in at a port; the bridge has not yet learnt anything from it.
    Entry,
    /// A copy of a frame is about to leave by a port.
    Exit,
}

impl At {
    const ALL: [(Self, &'static str, InetHookNumber); 2] =
        [(Self::Entry, "entry", InetHookNumber::PreRouting), (Self::Exit, "exit", InetHookNumber::Forward)];

    fn chain(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Exit => "exit",
        }
    }
}

/// What a frame has to be for a rule to drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// It came in by this port.
    From(u32),
    /// It leaves by this port.
    To(u32),
    /// It is UDP (IPv4 or IPv6) from this port.
    UdpSource(u16),
    /// It is UDP (IPv4 or IPv6) to this port.
    UdpDestination(u16),
    /// It is IPv4 or IPv6 with this protocol number.
    Protocol(u8),
    /// The dice say so, in ten thousandths.
    Chance(u32),
}

/// Drops the frames for which everything holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) at: At,
    pub(crate) matches: Vec<Match>,
}

/// A socket to nftables in the namespace of the thread that opened it.
pub(crate) struct Nft {
    socket: Socket,
    sequence: u32,
}

impl Nft {
    pub(crate) fn open() -> Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Self { socket: open().doing(|| "open a netlink socket to nftables".into())?, sequence: 0 })
    }

    /// Puts these rules in the place of all earlier ones, in one transaction. No rules: no table.
    pub(crate) fn replace(&mut self, rules: &[Rule]) -> Result<()> {
        // Made first so that the deletion never fails.
        let mut messages = vec![
            (NfTablesMessage::NewTable(table()), NLM_F_CREATE),
            (NfTablesMessage::DeleteTable(table()), 0),
        ];
        if !rules.is_empty() {
            messages.push((NfTablesMessage::NewTable(table()), NLM_F_CREATE));
            messages.extend(At::ALL.map(|(_, name, hook)| (chain(name, hook), NLM_F_CREATE)));
            messages.extend(rules.iter().map(|rule| (rule_message(rule), NLM_F_CREATE | NLM_F_APPEND)));
        }
        self.transact(messages).doing(|| "set packet faults with nftables".into())
    }

    fn transact(&mut self, messages: Vec<(NfTablesMessage, u16)>) -> io::Result<()> {
        let batch = || NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM);
        let mut bytes = Vec::new();
        self.put(&mut bytes, NetfilterMessage::new(batch(), ControlMessage::BatchBegin), 0);
        let last = messages.len() - 1;
        let mut acknowledged = 0;
        for (position, (message, flags)) in messages.into_iter().enumerate() {
            let header = NetfilterHeader::new(NetfilterProtoFamily::Bridge, 0, 0);
            // Errors are always reported; one acknowledgement tells that there are no more.
            let ack = if position == last { NLM_F_ACK } else { 0 };
            acknowledged = self.put(&mut bytes, NetfilterMessage::new(header, message), flags | ack);
        }
        self.put(&mut bytes, NetfilterMessage::new(batch(), ControlMessage::BatchEnd), 0);
        self.socket.send(&bytes, 0)?;
        let mut failed = None;
        loop {
            let (received, _) = self.socket.recv_from_full()?;
            let mut rest = &received[..];
            while rest.len() >= 16 {
                let answer =
                    NetlinkMessage::<NetfilterMessage>::deserialize(rest).map_err(io::Error::other)?;
                let length = usize::try_from(answer.header.length).map_err(io::Error::other)?;
                rest = rest.get(length.next_multiple_of(4).max(16)..).unwrap_or(&[]);
                let NetlinkPayload::Error(error) = &answer.payload else { continue };
                if error.code.is_some() && failed.is_none() {
                    failed = Some(error.to_io());
                }
                // An error in the frame of the batch itself is the only answer to it.
                if answer.header.sequence_number >= acknowledged || answer.header.sequence_number == 0 {
                    return failed.map_or(Ok(()), Err);
                }
            }
        }
    }

    fn put(&mut self, bytes: &mut Vec<u8>, message: NetfilterMessage, flags: u16) -> u32 {
        self.sequence += 1;
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
        self.sequence
    }
}

fn table() -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(TABLE.into())] }
}

fn chain(name: &str, hook: InetHookNumber) -> NfTablesMessage {
    NfTablesMessage::NewChain(ChainMessage {
        attributes: vec![
            ChainAttribute::Table(TABLE.into()),
            ChainAttribute::Name(name.into()),
            ChainAttribute::Hook(vec![
                Hook::Number(HookNumber::Inet(hook)),
                Hook::Priority(PRIORITY.cast_unsigned()),
            ]),
            ChainAttribute::Policy(ACCEPT),
            ChainAttribute::Type("filter".into()),
        ],
    })
}

fn rule_message(rule: &Rule) -> NfTablesMessage {
    let mut expressions: Vec<Expressions> =
        rule.matches.iter().flat_map(|&what| match_expressions(what)).collect();
    expressions.push(Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![VerdictAttribute::Code(Verdict::Other(DROP))])),
    ]));
    NfTablesMessage::NewRule(RuleMessage {
        attributes: vec![
            RuleAttribute::Table(TABLE.into()),
            RuleAttribute::Chain(rule.at.chain().into()),
            RuleAttribute::Expressions(expressions.into_iter().map(ListAttribute::from).collect()),
        ],
    })
}

fn match_expressions(what: Match) -> Vec<Expressions> {
    let udp = |offset, port: u16| {
        vec![
            meta(MetaKey::L4Proto),
            compare(Operator::Equal, vec![UDP]),
            Expressions::Payload(vec![
                Payload::DestinationRegister(Register::Reg1),
                Payload::Base(TRANSPORT_HEADER),
                Payload::Offset(offset),
                Payload::Len(2),
            ]),
            compare(Operator::Equal, port.to_be_bytes().to_vec()),
        ]
    };
    match what {
        Match::From(port) => vec![meta(MetaKey::Iif), compare(Operator::Equal, port.to_ne_bytes().to_vec())],
        Match::To(port) => vec![meta(MetaKey::Oif), compare(Operator::Equal, port.to_ne_bytes().to_vec())],
        Match::Protocol(number) => vec![meta(MetaKey::L4Proto), compare(Operator::Equal, vec![number])],
        Match::UdpSource(port) => udp(0, port),
        Match::UdpDestination(port) => udp(2, port),
        Match::Chance(ten_thousandths) => {
            let register = u32::from(Register::Reg1);
            vec![
                // DREG, MODULUS, TYPE = random.
                other("numgen", &[(1, register), (2, 10_000), (3, 1)]),
                // SREG, DREG, OP = host to network order, LEN, SIZE: numbers compare byte by byte.
                other("byteorder", &[(1, register), (2, register), (3, 1), (4, 4), (5, 4)]),
                compare(Operator::LessThan, ten_thousandths.to_be_bytes().to_vec()),
            ]
        }
    }
}

fn meta(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(key)])
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

/// An expression that the codec does not know by name; all its attributes are big-endian 32 bit numbers.
fn other(name: &str, attributes: &[(u16, u32)]) -> Expressions {
    Expressions::Other {
        expression_type: name.into(),
        attributes: attributes
            .iter()
            .map(|&(kind, value)| DefaultNla::new(kind, value.to_be_bytes().to_vec()))
            .collect(),
    }
}
