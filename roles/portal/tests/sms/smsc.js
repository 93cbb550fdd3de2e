// An SMSC made of the npm package smpp. It says what happens, and does what it is told: a line of
// JSON each. Its argument: {port, system_id, password, key, cert}.
'use strict';
const fs = require('fs');
const readline = require('readline');
const smpp = require('smpp');

const told = JSON.parse(process.argv[2]);
const say = (is, more) => process.stdout.write(JSON.stringify({ is, ...more }) + '\n');

let bound = null;
let count = 0;
// What becomes of submit_sm: so many are throttled, refused, or lost with the session.
const next = { throttle: 0, refuse: 0, lose: 0 };
let receipts = false;

function serve(session) {
  session.on('error', () => {});
  session.on('close', () => {
    if (bound === session) bound = null;
    say('closed');
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    say('unbound');
    session.send(pdu.response());
    session.close();
  });
  session.on('bind_transceiver', (pdu) => {
    if (pdu.system_id !== told.system_id || pdu.password !== told.password) {
      // This package leaves the body out of whatever has an error in its header.
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
      session.close();
      return say('refused');
    }
    bound = session;
    session.send(pdu.response({ system_id: 'smsc' }));
    say('bound');
  });
  session.on('submit_sm', (pdu) => submitted(session, pdu));
}

function submitted(session, pdu) {
  if (next.lose > 0) {
    next.lose -= 1;
    say('lost');
    return session.destroy();
  }
  if (next.throttle > 0) {
    next.throttle -= 1;
    session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
    return say('throttled');
  }
  if (next.refuse > 0) {
    next.refuse -= 1;
    session.send(pdu.response({ command_status: smpp.ESME_RINVDSTADR }));
    return say('refused');
  }
  count += 1;
  const id = 'm' + count;
  session.send(pdu.response({ message_id: id }));
  const { udh, message } = pdu.short_message;
  say('submitted', {
    id,
    from: pdu.source_addr,
    from_ton: pdu.source_addr_ton,
    to: pdu.destination_addr,
    to_ton: pdu.dest_addr_ton,
    coding: pdu.data_coding,
    udh: udh ? udh.map((one) => [...one]) : [],
    text: message,
    valid_ms: pdu.validity_period ? pdu.validity_period.getTime() - Date.now() : null,
  });
  if (receipts && pdu.registered_delivery) {
    const receipt = {
      source_addr: pdu.destination_addr,
      destination_addr: pdu.source_addr,
      esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
      short_message: `id:${id} sub:001 dlvrd:001 stat:DELIVRD err:000 text:`,
      receipted_message_id: id,
      message_state: smpp.MESSAGE_STATE.DELIVERED,
    };
    session.deliver_sm(receipt, (answer) => say('receipted', { status: answer.command_status }));
  }
}

// How a long text is cut, and what of a segment says so.
const ways = {
  whole: (text) => [{ short_message: text }],
  payload: (text) => [{ message_payload: text }],
  header: (text, size, reference) =>
    cut(text, size).map((message, at, all) => ({
      short_message: { udh: Buffer.from([5, 0, 3, reference, all.length, at + 1]), message },
    })),
  sar: (text, size, reference) =>
    cut(text, size).map((message, at, all) => ({
      short_message: message,
      sar_msg_ref_num: reference,
      sar_total_segments: all.length,
      sar_segment_seqnum: at + 1,
    })),
};

function cut(text, size) {
  const pieces = [];
  for (let at = 0; at < text.length; at += size) pieces.push(text.slice(at, at + size));
  return pieces;
}

const orders = {
  // One after the other: the next one is delivered once the last is answered.
  deliver({ from, ton, to, text, coding, raw, way, size, reference, backwards, only }) {
    // The package encodes by data_coding what is text.
    const said = raw ? Buffer.from(text, 'latin1') : text;
    let pieces = ways[way || 'whole'](said, size, reference).map((piece, at) => ({ piece, at }));
    if (backwards) pieces.reverse();
    if (only !== undefined) pieces = pieces.filter(({ at }) => at === only);
    const one = () => {
      const first = pieces.shift();
      if (!first || !bound) return;
      const options = {
        source_addr_ton: ton === undefined ? 1 : ton,
        source_addr_npi: 1,
        source_addr: from,
        destination_addr: to || '4444',
        data_coding: coding || 0,
        ...first.piece,
      };
      bound.deliver_sm(options, (answer) => {
        say('delivered', { text, at: first.at, status: answer.command_status });
        one();
      });
      say('delivering');
    };
    one();
  },
  set(values) {
    for (const key of Object.keys(next)) if (key in values) next[key] = values[key];
    if ('receipts' in values) receipts = values.receipts;
  },
  drop() {
    bound.destroy();
  },
};

const options = told.key ? { key: fs.readFileSync(told.key), cert: fs.readFileSync(told.cert) } : {};
const server = smpp.createServer(options, serve);
server.on('tlsClientError', () => say('tls-failed'));
server.listen(told.port, '127.0.0.1', () => say('listening', { port: server.address().port }));
const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const order = JSON.parse(line);
  orders[order.do](order);
});
lines.on('close', () => process.exit(0));
