/*
 * The sync protocol of outbox, link and receiver, for spin (Promela).
 *
 * Question: can a message that the outbox has committed get lost, or stand twice in the stream, and does the outbox always
 * become empty in the end? Under: loss, duplication, delay and reordering of everything between gateway and cloud, crashes of
 * the agent and of the receivers between any two steps, two receivers that race, and stale reads of the stream.
 *
 * What stands for what (Tidemark's docs define the words):
 *   here                in the code                         simplification
 *   committed           agent/outbox: seqs on disk          2 or 3 seqs of one epoch of one gateway; a set of seqs is a bit mask
 *   acked               agent/outbox: what acks deleted     deletion on disk may lag, so a crash may bring deleted seqs back
 *   inflight            agent/link: published, not acked    a bundle is any set of seqs in any order: "fresh first" is one of them
 *   up, down            MQTT both ways, and the broker      a set of bundles / tidemarks: what is in it may arrive at any time,
 *                                                           again and again, in any order, or never
 *   (nothing)           PUBACK                              means "the broker has it", and must change nothing; see PUBACK_DELETES
 *   Receiver            cloud/receiver: one of two          two instances of the same code share the bundles
 *   last, tidemark[]    the stream: last sequence of the    the header of message i on the gateway's subject is tidemark[i];
 *                       subject, header of each message     data and header are one JetStream message, so they commit together
 *   stored              (ghost: what is truly stored)       only assertions and mutants look at it
 *
 * Not modelled: budgets and `dropped` messages, epochs, the fallback over HTTPS, retention. They are tested on the code itself.
 *
 * Without -DPROGRESS the adversary is unlimited, and the assertions are checked (no loss, no duplicate, nothing invented).
 * With it the adversary has FAULTS faults to spend, and `ltl drained` is checked under weak fairness: from some moment on
 * everything is in the stream and the outbox is empty. A lost bundle or ack is sent again after a timeout or a reconnect; in
 * this mode a timeout that is not a fault happens only when nothing is under way.
 *
 * With unlimited faults every set of committed seqs may have been sent at any time: a crash can bring all of it back, and a crashed
 * agent sends all of it again. -DANYTHING uses that to leave `up` out, which makes N = 3 small enough to search completely.
 *
 * Mutants: each -D below takes one rule away, and the check must then fail, else it proves nothing.
 *   PUBACK_DELETES   the outbox deletes when the broker has the bundle
 *   NO_CAS           the receiver appends without the expected last sequence
 *   NO_TRIM          the receiver appends the bundle as it came
 *   SPLIT_TIDEMARK   the tidemark is written after the data, not with it
 *   EARLY_ACK        the receiver acks before it commits
 *   EARLY_SEND       the link publishes a seq before the outbox has committed it
 *   SILENT_DUPLICATE (progress) a bundle that is in already is not acked again
 *   NO_RESEND        (progress) what was published once is not sent again
 */

#ifndef N
#define N 2
#endif
#define ALL ((1 << N) - 1) /* every seq */

#ifndef FAULTS
#define FAULTS 2
#endif

#ifdef PROGRESS
byte faults = FAULTS;
#define MAYFAIL (faults > 0)
#define FAIL    faults--
#define INFLIGHT(set) inflight = set
#else
#define MAYFAIL true
#define FAIL    skip
#define INFLIGHT(set) skip /* a reconnect after every step: all may be sent again at any time */
#endif

/* The gateway. */
byte committed; /* always 1, 11, 111: seqs are given in order */
byte acked;
byte inflight;  /* gone after a crash or a reconnect */

/* Between: bit b is set while the bundle (or tidemark) with mask b may still arrive. */
byte up;
byte down;

/* The stream. */
byte last;
byte tidemark[N + 1];
byte stored;

byte busy; /* receivers that hold a bundle; only the timeout of PROGRESS looks at it */

#define HAS(set, mask)  ((set >> (mask)) & 1)
#define ADD(set, mask)  set = set | (1 << (mask))
#define TAKE(set, mask) set = set & ~(1 << (mask))

/* PICK chooses any mask of which COND(mask) holds. */
#define PICK(v, COND) \
	if \
	:: COND(1) -> v = 1 :: COND(2) -> v = 2 :: COND(3) -> v = 3 :: COND(4) -> v = 4 \
	:: COND(5) -> v = 5 :: COND(6) -> v = 6 :: COND(7) -> v = 7 \
	fi

#ifdef EARLY_SEND
#define SENDABLE (((committed << 1) | 1) & ALL & ~acked & ~inflight)
#else
#define SENDABLE (committed & ~acked & ~inflight)
#endif
#define CANSEND(b)    (((b) & ~SENDABLE) == 0)
#ifdef ANYTHING
#define CANRECEIVE(b) (((b) & ~committed) == 0)
#define SENT(b)       skip
#define UNDERWAY      (committed != 0)
#else
#define CANRECEIVE(b) HAS(up, b)
#define SENT(b)       ADD(up, b)
#define UNDERWAY      (up != 0)
#endif
#define CANLEARN(t)   HAS(down, t)

/* The outbox's group commits: one seq or several at once. */
active proctype Outbox()
{
	do
	:: committed != ALL -> committed = (committed << 1) | 1
	:: committed == 0 -> committed = 3
	:: committed == ALL -> break
	od
}

active proctype Link()
{
	byte v;
end:	do
	:: atomic { SENDABLE != 0 -> PICK(v, CANSEND); SENT(v); INFLIGHT(inflight | v); v = 0 }
	:: atomic { (down >> 1) != 0 -> PICK(v, CANLEARN);
#ifdef PROGRESS
		TAKE(down, v);
#endif
		INFLIGHT(inflight & ~v);
		acked = acked | (v & committed);
		assert((acked & ~stored) == 0); /* no loss: what the outbox gives up is in the stream */
		v = 0 }
#ifdef PUBACK_DELETES
	:: atomic { PICK(v, CANRECEIVE); acked = acked | v; assert((acked & ~stored) == 0); v = 0 }
#endif
#ifndef NO_RESEND
	/* A reconnect or a timeout: all that is not acked is to be sent again. */
#ifdef PROGRESS
	:: atomic { inflight != 0 && up == 0 && down == 0 && busy == 0 -> inflight = 0 }
	:: atomic { inflight != 0 && MAYFAIL -> FAIL; inflight = 0 }
#endif
#endif
	od
}

#define FORGET b = 0; t = 0; at = 0; busy--

active [2] proctype Receiver()
{
	byte b, t, at; /* the bundle, the tidemark read for it, the sequence that it was read at */

end:	do
	:: atomic { UNDERWAY -> PICK(b, CANRECEIVE); busy++;
#ifdef PROGRESS
		if
		:: TAKE(up, b)
		:: MAYFAIL -> FAIL /* delivered now, and once more later */
		fi
#endif
		};
#ifdef EARLY_ACK
		atomic { ADD(down, b) };
#endif
read:		if
		:: atomic { at = last; t = tidemark[at] }
		:: atomic { last > 0 && MAYFAIL -> FAIL; /* a replica or a cache that lags, a little or much */
			if
			:: at = last - 1
			:: last > 1 -> at = 0
			fi;
			t = tidemark[at] }
		:: atomic { MAYFAIL -> FAIL; goto crash }
		fi;
		if
		:: atomic { MAYFAIL -> FAIL; goto crash }
		:: atomic { (b & ~t) == 0 -> /* in already: nothing to append */
			at = 0; b = 0;
#ifdef SILENT_DUPLICATE
			goto crash }
#else
			goto ack }
#endif
#ifndef NO_CAS
		:: atomic { (b & ~t) != 0 && last != at -> goto read } /* the other receiver was first: read again, trim again */
		:: atomic { (b & ~t) != 0 && last == at ->
#else
		:: atomic { (b & ~t) != 0 ->
#endif
#ifndef NO_TRIM
			b = b & ~t;
#endif
			assert((b & stored) == 0);     /* no duplicate in the stream */
			assert((b & ~committed) == 0); /* nothing that the outbox may still lose */
			last++;
			stored = stored | b;
			t = t | b;
			b = 0; at = 0;
#ifdef SPLIT_TIDEMARK
			tidemark[last] = tidemark[last - 1]
			};
			if
			:: atomic { MAYFAIL -> FAIL; goto crash }
			:: atomic { tidemark[last] = tidemark[last] | t }
			fi
#else
			tidemark[last] = t;
			assert(t == stored) /* the last tidemark tells exactly what is in */
			}
#endif
		fi;
ack:		if
		:: atomic { MAYFAIL -> FAIL; goto crash } /* committed, but nobody told the gateway */
		:: atomic { ADD(down, t); FORGET }
		fi;
		goto end;
crash:		atomic { FORGET }
	od
}

/* What happens without anyone's doing. */
active proctype Faults()
{
	byte v;
end:	do
	/* The agent crashes: the connection's state is gone, and deletions that had not reached the disk come back. */
	:: atomic { MAYFAIL && (inflight != 0 || acked != 0) -> FAIL; INFLIGHT(0);
		if
		:: skip
		:: acked != 0 -> acked = 0
		fi }
#ifdef PROGRESS
	/* Without PROGRESS loss needs no step: nothing is forced to arrive. */
	:: atomic { MAYFAIL && up != 0 -> PICK(v, CANRECEIVE); FAIL; TAKE(up, v); v = 0 }
	:: atomic { MAYFAIL && (down >> 1) != 0 -> PICK(v, CANLEARN); FAIL; TAKE(down, v); v = 0 }
	:: MAYFAIL -> faults = 0 /* or the world turns friendly */
#endif
	od
}

#ifdef PROGRESS
/* Time goes on when nothing else does, so that a run that is stuck is an endless one, which the claim then sees. */
active proctype Time()
{
end:	do
	:: last <= N /* always; spin refuses a bare skip here */
	od
}

ltl drained { <>[] (committed == ALL && acked == ALL && stored == ALL) }
#endif
