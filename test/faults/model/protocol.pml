/*
 * The protocol for one record: claim, lease, heartbeat, fenced completion, take-over or hold, resolution by an operator, and
 * transactions that a completion commits with, among owners that crash, stand still for any length of time, and lose the
 * answers to what they ask.
 *
 *   OWNERS  how many processes
 *   RUNS    how often each may begin again (a crash, or a retry of its client)
 *   FENCE   1: a completion is fenced by owner, token and status, as it is; 2: by owner and token alone; 0: it only looks
 *           whether the record is in processing or done
 *   LATE    1: a completion may stay on the wire until its sender has long given up on it
 *   TXN     1: the handler's effect is part of the completion's transaction; 0: it happens before
 *   HOLD    0: afterCrash is 'rerun': a record whose lease ran out is taken over
 *           1: it is 'hold', and the operator may resolve any unknown record at any time, as done or not done
 *           2: the same, and the operator waits for executions to end, finds out whether there was an effect, and says so
 *   NOBODY  1: what an operator resolves as done belongs to no owner, as it is; 0: it stays the last owner's
 *   BESIDE  1: a heartbeat renews the lease beside the record, as those of transactional operations do on PostgreSQL;
 *           0: it writes the record itself
 *   SNAP    1: the handler's transaction sees the record as it was when the handler began (REPEATABLE READ and above), and
 *           cannot write it if it was written since
 *   JUDGE   1: a claim that takes over locks the record, and then looks at the lease again, as it is; 0: it goes by what it
 *           saw of the lease before it had the lock
 *
 * Each atomic block is one statement of the database. Leases run out by a process of their own, so at any time: an owner
 * that stands still longer than its lease is one that was overtaken between two of its steps.
 */
#ifndef OWNERS
#define OWNERS 2
#endif
#ifndef RUNS
#define RUNS 2
#endif
#ifndef FENCE
#define FENCE 1
#endif
#ifndef LATE
#define LATE 1
#endif
#ifndef TXN
#define TXN 0
#endif
#ifndef HOLD
#define HOLD 0
#endif
#ifndef NOBODY
#define NOBODY 1
#endif

#ifndef BESIDE
#define BESIDE 0
#endif
#ifndef SNAP
#define SNAP 0
#endif
#ifndef JUDGE
#define JUDGE 1
#endif

#define NONE 0
#define PROCESSING 1
#define DONE 2
#define FAILED 3
#define HELD 4

/* The name of an outcome that the operator made. */
#define TOLD 255

/* The record. An outcome is named by the token of the execution that made it. */
byte status = NONE;
byte token = 0;
byte owner = 0;
byte outcome = 0;
bool lease = false;
#if BESIDE
byte renewed = 0;       /* the token for which the lease is renewed beside the record, and has not run out; 0: none */
#define LEASED (lease || renewed == token)
#else
#define LEASED lease
#endif
#if SNAP
byte current = 0;       /* the processes whose snapshot has the record as it is, a bit each */
#define WRITTEN current = 0
#else
#define WRITTEN skip
#endif

/* What has happened, for the guarantees. */
byte effects = 0;
byte takeovers = 0;
byte releases = 0;
byte answered = 0;      /* the outcome that a client was given first; 0: none yet */
byte lastRecorded = 0;  /* the token under which the outcome was recorded */
#if HOLD
byte freed = 0;         /* how often the operator said that it was not done */
byte since = 0;         /* effects since the last release */
byte working = 0;       /* executions whose effect may still come */
#endif

inline effect() {
  atomic {
    effects++;
#if HOLD
    since++;
    if
    :: may -> may = false; working--
    :: else -> skip
    fi
#endif
  }
}

inline claimed(me, won) {
  status = PROCESSING; owner = me; lease = true; won = true; WRITTEN;
#if HOLD
  if
  :: !may -> may = true; working++
  :: else -> skip
  fi;
  /* No owner has taken over: before each execution but the first, its predecessor or the operator let go. */
  assert(token == 1 + releases + freed)
#endif
}

inline release() {
  status = FAILED; releases++; WRITTEN;
#if HOLD
  since = 0
#endif
}

/* What a claim does that found the lease run out, and has locked the record. */
inline takeOver(me, won) {
#if HOLD
  status = HELD; WRITTEN
#else
  takeovers++; token++; claimed(me, won)
#endif
}

inline claim(me, mine, won, seen, silent) {
  silent = 0;
  atomic {
    won = false;
    seen = 0;
    if
    :: status == NONE -> token = 1; claimed(me, won)
    :: status == FAILED -> token++; claimed(me, won)
#if HOLD
    :: status == PROCESSING && owner == me && LEASED -> won = true
    :: status == PROCESSING && owner == me && !LEASED -> silent = token
    :: status == HELD -> skip
#else
    :: status == PROCESSING && owner == me ->
         won = true /* our own claim, whose answer was lost */
#endif
    :: status == PROCESSING && owner != me && !LEASED -> silent = token
    :: status == PROCESSING && owner != me && LEASED -> skip
    :: status == DONE -> seen = outcome
    fi;
#if !BESIDE
    /* Of one statement: a record that was written meanwhile is looked at again as it is. */
    if
    :: silent != 0 -> takeOver(me, won); silent = 0
    :: else -> skip
    fi;
#endif
    mine = (won -> token : 0)
  }
#if BESIDE
  ;
  atomic {
    if
#if JUDGE
    :: silent != 0 && status == PROCESSING && token == silent && !LEASED -> takeOver(me, won)
    :: else -> skip
#else
    :: silent != 0 && status == PROCESSING && token == silent && !lease ->
         /* No claim takes over while a lease is in force. */
         assert(renewed != token);
         takeOver(me, won)
    :: else -> skip
#endif
    fi;
    silent = 0;
    mine = (won -> token : 0)
  }
#endif
}

inline complete(me, mine, held) {
  atomic {
#if SNAP
    /* What is still ours can be recorded: nothing but another's claim, or an operator, has written the record since. */
    assert(!(status == PROCESSING && owner == me && token == mine) || (current >> (me / 8)) & 1);
#endif
    if
#if FENCE == 1
    :: status == PROCESSING && owner == me && token == mine ->
#elif FENCE == 2
    :: owner == me && token == mine ->
#else
    :: status == PROCESSING || status == DONE ->
#endif
         held = true;
#if TXN
         effects++;
#endif
         /* What is held stays so until the operator resolves it. */
         assert(status != HELD);
         /* No stale writes: the owner that records is the latest to have claimed, and none recorded before. */
         assert(mine == token);
         assert(lastRecorded == 0 || lastRecorded == mine);
         lastRecorded = mine; outcome = mine; status = DONE; lease = false; WRITTEN
    :: else -> held = false
    fi
  }
}

inline resolveDone() {
  assert(lastRecorded == 0);
  lastRecorded = TOLD; outcome = TOLD; status = DONE; lease = false; WRITTEN;
#if NOBODY
  owner = 0
#endif
}

inline resolveFree() {
  status = FAILED; freed++; WRITTEN
}

/* All definitive answers are the same, and what was answered is on record. */
inline answer(which) {
  atomic {
    assert(status == DONE && outcome == which);
    assert(answered == 0 || answered == which);
    answered = which
  }
}

/* A completion that stayed on the wire, and arrives when its sender has long given up on it. */
proctype Late(byte me; byte mine) {
  bool held;
  complete(me, mine, held)
}

/* An owner id is new for each execution, and a process that crashed comes back as another. */
proctype Process(byte index) {
  byte life = 0;
  byte me, mine, seen, silent;
  bool won, held, again;
#if HOLD
  bool may; /* this execution may still have its effect */
#endif

begin:
#if HOLD
  atomic {
    if
    :: may -> may = false; working--
    :: else -> skip
    fi
  };
#endif
  life++;
  if
  :: life > RUNS -> goto end
  :: else -> skip
  fi;
  me = index * 8 + life;
  again = false;

asking:
  claim(me, mine, won, seen, silent);
  if
  :: true -> skip           /* the answer arrives */
  :: won && !again -> again = true; goto asking /* the answer is lost: asked again under the same owner */
  :: true -> goto begin     /* crash, or the answer is lost for good */
  fi;
  if
  :: seen != 0 -> answer(seen); goto begin
  :: !won && seen == 0 -> goto begin
  :: won -> skip
  fi;

#if SNAP
  current = current | (1 << index);
#endif

  /* The handler. It may stand still before and after its effect, and be overtaken. */
#if !TXN
  effect();
#endif
  if
  :: true -> skip
  :: true -> goto begin     /* crash after the effect, or between claim and commit */
  :: atomic { status == PROCESSING && owner == me && token == mine -> release() }; goto begin
  fi;

  /* A heartbeat renews a lease, also one that ran out, as long as no owner has taken over. */
  if
#if BESIDE
  :: atomic { status == PROCESSING && owner == me && token == mine -> renewed = mine }
#else
  :: atomic { status == PROCESSING && owner == me && token == mine -> lease = true; WRITTEN }
#endif
  :: true -> skip
  fi;

  if
  :: complete(me, mine, held)
#if LATE
  :: run Late(me, mine); goto lost
#endif
  fi;
  if
  :: true -> skip           /* the answer arrives */
  :: true -> goto lost      /* the answer is lost */
  :: true -> goto begin     /* crash */
  fi;
  if
  :: held -> goto sending
  :: !held -> goto look
  fi;

lost:
#if TXN
  /* A fenced write waits for a COMMIT that is under way, and so knows: in processing still, it never happened. */
  if
  :: atomic { status == PROCESSING && owner == me && token == mine -> release() }; goto begin
  :: atomic { !(status == PROCESSING && owner == me && token == mine) -> skip }
  fi;
#else
  /* Sent again: finds no row in processing if it was recorded, and records it if not. */
  complete(me, mine, held);
  if
  :: held -> goto sending
  :: else -> skip
  fi;
#endif

look:
  atomic {
    if
    :: status == DONE && owner == me && token == mine -> seen = mine /* what we sent was recorded */
    :: status == DONE && !(owner == me && token == mine) -> seen = outcome
    :: else -> seen = 0
    fi
  };
  if
  :: seen != 0 -> answer(seen); goto begin  /* ours, or that of the owner that overtook us */
  :: else -> goto begin                     /* a conflict */
  fi;

sending:
  if
  :: true -> answer(mine)
  :: true -> skip           /* crash between record and response */
  fi;
  goto begin;

end:
  skip
}

/* The database's clock: a lease may run out at any time. */
proctype Clock() {
end:
  do
  :: atomic { status == PROCESSING && lease -> lease = false }
#if BESIDE
  :: atomic { renewed != 0 -> renewed = 0 }
#endif
  od
}

#if HOLD
#define UNKNOWN (status == HELD || (status == PROCESSING && !LEASED))

/* An operator who finds out about records whose outcome is unknown, also before the next request has made them held. */
proctype Operator() {
end:
  do
#if HOLD == 1
  :: atomic { UNKNOWN -> resolveDone() }
  :: atomic { UNKNOWN -> resolveFree() }
#else
  :: atomic { UNKNOWN && working == 0 && since > 0 -> resolveDone() }
  :: atomic { UNKNOWN && working == 0 && since == 0 -> resolveFree() }
#endif
  od
}
#endif

/* Effects are counted when no process does anything any more. */
proctype Auditor() {
  atomic {
    timeout ->
#if HOLD
      assert(takeovers == 0);
      /* What was held is resolved, by an operator who has nothing else to do. */
      assert(status != HELD);
#endif
#if TXN
      assert(effects <= 1);
      assert((status == DONE && outcome != TOLD) == (effects == 1))
#elif HOLD == 2
      assert(effects <= 1 + releases);
      assert(status != DONE || effects > 0)
#elif HOLD
      assert(effects <= 1 + releases + freed)
#else
      assert(effects <= 1 + takeovers + releases)
#endif
  }
}

init {
  byte i = 1;
  atomic {
    do
    :: i <= OWNERS -> run Process(i); i++
    :: else -> break
    od;
    run Clock();
#if HOLD
    run Operator();
#endif
    run Auditor()
  }
}
