/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The callback thread's start and its end, and who waits for callbacks meanwhile: nobody waits
 * for a thread that is gone or never came, and a barrier returns when its callbacks have run.
 * What the memory does in between is in worker.pml; here every step is seen at once.
 *
 * Two users queue a callback each and wait by a barrier, the second perhaps not.  EXIT: the process exits, and an exit
 * handler waits for the users.  FAILS: the first start finds no thread.  ENDS: a callback ends
 * the thread that runs it; what is left of the batch goes back.
 *
 * good:
 * good: EXIT
 * good: FAILS
 * good: ENDS
 * long: EXIT FAILS
 * broken: EXIT GOES_SILENTLY        a thread that ends tells nobody who waits
 * broken: EXIT EVENT_READ_LATE      a barrier reads the event after it looked at the thread
 * broken: EXIT NOBODY_WORKS         a barrier without a thread does not do the work itself
 * broken: FAILS FAILS_SILENTLY      a start that failed tells nobody who saw the thread awake
 * broken: FAILS AWAKE_AFTERWARDS    start() says `awake` when the thread is there: it may sleep by then
 * broken: ENDS LOSES_THE_REST       what was left of its batch is gone
 * broken: ENDS KEEPS_ENGINE         it goes with the engine mutex
 * broken: EXIT IDLE_WITHOUT_ENGINE  a thread that is gone counts as idle, though a user does its work
 * broken: ENDS ASLEEP_IS_IDLE       one that sleeps counts as idle, though a user does what came before it
 */
mtype = { awake, asleep, none, stop, ended };
#define WORKER 0
#define USERS 3         /* and 3: who exits */

mtype state = none;     /* cp_call_words.worker */
byte queued, taken, ran; /* callbacks: a bit for each user */
byte wanted, done;      /* barriers */
byte event;             /* cp_engine_words.event */
bool engine, worker_mutex;
bool lies[4];
byte returned;
bool failed, callback_ended;

#define THERE_IS_WORK (queued != taken || wanted != done)

/* WaitersForCallbacks.lookAgain */
inline look_again()
{
    event++;
    d_step { lies[1] = false; lies[2] = false }
}

/* CallbackEngine.runOnce, in two parts: callbacks run in the middle. */
inline run_once()
{
    d_step { barriers = wanted; batch = queued; taken = queued }
    ran = ran | batch;
    if
    :: done != barriers -> done = barriers; look_again()
    :: else
    fi;
    d_step { barriers = 0; batch = 0 }
}

/* WorkerWord.wake; did: there is a thread that does it. */
inline wake_it()
{
    did = true;
    if
    :: state == awake
    :: state == asleep ->
        if
        :: atomic { state == asleep -> state = awake };
            lies[WORKER] = false
        :: atomic { state != asleep -> skip }
        fi
    :: state != awake && state != asleep -> did = false
    fi
}

/* Worker.start */
inline start()
{
    atomic { !worker_mutex -> worker_mutex = true };
    if
    :: state != none -> did = state == awake || state == asleep
    :: else ->
#ifndef AWAKE_AFTERWARDS
        state = awake;
#endif
        if
#ifdef FAILS
        :: !failed ->
            failed = true;
            state = none;
#ifndef FAILS_SILENTLY
            look_again();
#endif
            did = false
        :: failed -> run worker(); did = true
#else
        :: true -> run worker(); did = true
#endif
        fi;
#ifdef AWAKE_AFTERWARDS
        if
        :: did -> state = awake
        :: else
        fi
#endif
    fi;
    worker_mutex = false
}

/* Worker.endsInCallback: the batch has begun and has not run to its end. */
inline end_in_callback()
{
    d_step { callback_ended = true; taken = queued }
#ifndef LOSES_THE_REST
    taken = ran;
#endif
#ifndef KEEPS_ENGINE
    engine = false;
#endif
    state = none;
    wake_it();
    if
    :: !did && state == none -> start()
    :: else
    fi;
    look_again();
    goto gone
}

proctype worker()
{
    byte barriers, batch;
    bool did;

main:
    atomic { !engine -> engine = true };
    do
    :: THERE_IS_WORK ->
#ifdef ENDS
        if
        :: !callback_ended && queued != taken -> end_in_callback()
        :: true
        fi;
#endif
        run_once()
    :: else -> break
    od;
    engine = false;
    state = asleep;
look:
    if
    :: THERE_IS_WORK ->
        if
        :: atomic { state == asleep -> state = awake }
        :: atomic { state != asleep -> skip }
        fi
    :: else
    fi;
    if
    :: state == stop -> goto out
    :: state != asleep && state != stop -> goto main
    :: state == asleep -> skip
    fi;
    atomic {
        if
        :: state == asleep -> lies[WORKER] = true
        :: else
        fi
    };
end_asleep:
    !lies[WORKER];
    goto look;
out:
    state = ended;
#ifndef GOES_SILENTLY
    look_again();
#endif
gone:
    skip
}

/* Worker.workInPlace */
inline work_in_place()
{
    atomic { !engine -> engine = true };
    if
    :: THERE_IS_WORK -> run_once()
    :: else
    fi;
    engine = false
}

/* Worker.isIdle */
inline look_whether_idle()
{
    if
#ifdef ASLEEP_IS_IDLE
    :: state == asleep -> idle = true
#endif
    :: state == awake || state == stop -> idle = false
#ifdef ASLEEP_IS_IDLE
    :: state == none || state == ended ->
#else
    :: state == none || state == ended || state == asleep ->
#endif
#ifdef IDLE_WITHOUT_ENGINE
        idle = true
#else
        if
        :: atomic { !engine -> idle = queued == taken }
        :: engine -> idle = false
        fi
#endif
    fi
}

/* waitForAnswer */
inline wait_for_answer(t)
{
    atomic { wanted++; mine = wanted };
    do
    :: true ->
#ifndef EVENT_READ_LATE
        seen = event;
#endif
        if
        :: done >= mine -> break
        :: else
        fi;
        wake_it();
        if
        :: !did && state == none -> start()
        :: else
        fi;
        if
        :: did ->
#ifdef EVENT_READ_LATE
            seen = event;
#endif
            atomic {
                if
                :: event == seen -> lies[t] = true
                :: else
                fi
            };
            !lies[t]
        :: else ->
#ifdef NOBODY_WORKS
            done >= mine
#else
            work_in_place()
#endif
        fi
    od
}

/* call_rcu(), and then rcu_barrier() */
proctype user(byte t)
{
    byte mine, seen, barriers, batch;
    bool did, idle;

    queued = queued | t;
    wake_it();
    if
    :: !did && state == none -> start()
    :: else
    fi;
    if
    :: t == 2 -> goto returns
    :: true
    fi;
    if
    :: queued != taken -> idle = false
    :: else -> look_whether_idle()
    fi;
    if
    :: idle
    :: else -> wait_for_answer(t)
    fi;
    assert((ran & t) != 0);
returns:
    returned++
}

#ifdef EXIT
/* Worker.end, and then an exit handler that joins the users. */
active proctype exiting()
{
    byte rounds;

    atomic { !worker_mutex -> worker_mutex = true };
    do
    :: rounds < 2 ->
        rounds++;
        if
        :: state != awake && state != asleep ->
            if
            :: atomic { state == none -> state = ended }
            :: atomic { state != none -> skip }
            fi;
            break
        :: atomic { state == asleep -> state = stop };
            lies[WORKER] = false;
            worker_mutex = false;
            state == ended; /* joined */
            goto joined
        :: state == awake || state == asleep -> skip /* sleeps a while */
        fi
    :: else -> break
    od;
    worker_mutex = false;
joined:
    returned == 2
}
#endif

/* Nothing can go on any more. */
active proctype checker()
{
    timeout;
    assert(returned == 2)
}

init {
    atomic { run user(1); run user(2) }
}
