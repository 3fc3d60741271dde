#include "app/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/blackbox.h"
#include "app/strikes.h"
#include "base/log.h"
#include "base/mem.h"
#include "ev/loop.h"
#include "http/server.h"

enum {
    SAMPLE_MIN_MS =
        20, /* how often the heartbeat is looked at: an eighth of the watchdog, within */
    SAMPLE_MAX_MS = 500,
    STILL_MIN_MS = 1000,   /* a machine may be that slow */
    STILL_IDLE_MS = 30000, /* outside of plugin code the loop may wait for a disk */
    QUICK_MS = 5000,       /* who dies sooner is not started again at once for ever */
    QUICK_FREE = 3,
    DELAY_UP_MS = 25,
    DELAY_MIN_MS = 100,
    DELAY_MAX_MS = 5000,
    CLOSED_GRACE_MS = 20, /* a process that ends closes its descriptors a moment before */
    STOP_GRACE_MS = 1000,
};

struct supervisor {
    const struct settings *settings;
    struct supervised given;
    int signals;  /* signalfd */
    int lifeline; /* the server process holds the other end; -1: there is none */
    sigset_t before;
    pid_t child; /* 0: none is running */
    uint64_t started_ms, restart_ms;
    uint64_t closed_ms; /* when it lost its descriptors; 0: it has them */
    unsigned quick;     /* how many died quickly, one after the other */
    bool was_up, killed;
    unsigned stops;       /* how often we were told to stop */
    uint64_t deadline_ms; /* for stopping */
    uint64_t steps, beats, seen_ms, still_ms;
    bool done;
    int code;
    struct strikes strikes;
};

static uint64_t now_ms(void)
{
    return clock_now_ns() / 1000000;
}

static void reset_action(int number)
{
    signal(number, SIG_DFL);
}

/* --- the server process --- */

/* In the new process. A process group of its own: what a plugin does to its group does not reach
 * us, and what a terminal sends to ours comes through us.
 */
static void become_server(struct supervisor *s, pid_t parent, int lifeline)
{
    (void)lifeline; /* held open until the end */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    close(s->signals);
    close(s->lifeline);
    sigprocmask(SIG_SETMASK, &s->before, NULL);
    reset_action(SIGCHLD);
}

static void note_start(struct supervisor *s)
{
    s->started_ms = s->seen_ms = now_ms();
    s->closed_ms = s->still_ms = s->steps = s->beats = 0;
    s->killed = false;
}

/* True in the server process. */
static bool start_child(struct supervisor *s)
{
    const pid_t self = getpid();
    int ends[2];

    blackbox_reset(s->given.box);
    note_start(s);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        log_printf(LOG_ERROR, "cannot start the server process: %s", strerror(errno));
        s->restart_ms = now_ms() + DELAY_MAX_MS;
        return false;
    }
    s->lifeline = ends[0];
    s->child = fork();
    if (s->child == 0) {
        become_server(s, self, ends[1]);
        return true;
    }
    close(ends[1]);
    if (s->child < 0) {
        log_printf(LOG_ERROR, "cannot start the server process: %s", strerror(errno));
        close(s->lifeline);
        s->lifeline = -1;
        s->child = 0;
        s->restart_ms = now_ms() + DELAY_MAX_MS;
    }
    return false;
}

static void kill_child(struct supervisor *s)
{
    s->killed = true;
    kill(s->child, SIGKILL);
}

/* --- what it was doing --- */

struct doing {
    bool known; /* code of this plugin was running */
    struct box_plugin plugin;
    char request_id[WATCH_REQUEST_MAX], phase[WATCH_PHASE_MAX];
};

/* Only letters and the like: it goes into the log's JSON, and may be anything after a crash. */
static void copy_safely(char *to, size_t size, const char *from)
{
    size_t len = 0;

    while (len < size - 1 && from[len] > ' ' && from[len] < 127 && !strchr("\"\\", from[len])) {
        to[len] = from[len];
        len++;
    }
    to[len] = '\0';
}

static void read_doing(const struct supervisor *s, struct doing *doing)
{
    const struct watch_record *record = &s->given.box->record;

    memset(doing, 0, sizeof(*doing));
    if (atomic_load(&record->depth) == 0)
        return;
    doing->known = blackbox_plugin(s->given.box, record->mark, &doing->plugin);
    copy_safely(doing->request_id, sizeof(doing->request_id), record->request_id);
    copy_safely(doing->phase, sizeof(doing->phase), record->phase);
}

/* "<what> while ..." with the names that are known. */
static void tell(enum log_level level, const char *what, const struct doing *doing)
{
    char message[512], fields[64];
    const struct log_line line = {
        .level = level,
        .message = message,
        .plugin = doing->known ? doing->plugin.name : NULL,
        .request_id = *doing->request_id ? doing->request_id : NULL,
        .fields = *doing->phase ? fields : NULL,
    };

    snprintf(fields, sizeof(fields), "{\"phase\":\"%s\"}", doing->phase);
    if (doing->known)
        snprintf(message, sizeof(message), "%s while plugin \"%s\" ran%s%s", what,
                 doing->plugin.name, *doing->phase ? ": " : "", doing->phase);
    else
        snprintf(message, sizeof(message), "%s; no plugin is known to have been running", what);
    log_write(&line);
}

static void blame(struct supervisor *s, const struct doing *doing)
{
    const struct log_line line = {
        .level = LOG_ERROR,
        .message = "quarantined: it took the server down three times in a minute and is left out "
                   "until its files change",
        .plugin = doing->plugin.name,
    };

    if (!doing->known || !strikes_add(&s->strikes, &doing->plugin, now_ms()))
        return;
    blackbox_quarantine(s->given.box, &doing->plugin);
    s->quick = 0;
    log_write(&line);
}

/* --- its end --- */

static void finish(struct supervisor *s, int code)
{
    s->done = true;
    s->code = code;
}

/* One that came to listen goes on at once, but for a moment when it dies all the time; one that
 * never does is waited for longer and longer.
 */
static uint64_t restart_delay(const struct supervisor *s, bool came_up)
{
    const unsigned excess = s->quick > QUICK_FREE ? s->quick - QUICK_FREE - 1 : 0;
    const uint64_t delay = (uint64_t)DELAY_MIN_MS << (excess < 8 ? excess : 8);

    if (s->quick <= QUICK_FREE)
        return 0;
    if (came_up)
        return DELAY_UP_MS;
    return delay < DELAY_MAX_MS ? delay : DELAY_MAX_MS;
}

static void plan_restart(struct supervisor *s, bool came_up)
{
    const uint64_t now = now_ms();
    uint64_t delay;

    s->quick = now - s->started_ms < QUICK_MS ? s->quick + 1 : 0;
    delay = restart_delay(s, came_up);
    s->restart_ms = now + delay;
    if (delay > DELAY_UP_MS)
        log_printf(LOG_WARN, "the server process does not come to listen: waiting %llu ms",
                   (unsigned long long)delay);
}

static void describe_end(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "the server process died of signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "the server process ended by itself with status %d",
                 WEXITSTATUS(status));
}

/* It did not end because it was told to. */
static void crashed(struct supervisor *s, int status)
{
    const bool from_outside = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    char what[160];
    struct doing doing;

    if (s->killed) /* that was us, and was told */
        return;
    read_doing(s, &doing);
    describe_end(status, what, sizeof(what));
    tell(LOG_ERROR, what, &doing);
    if (!from_outside)
        blame(s, &doing);
}

static void child_ended(struct supervisor *s, int status)
{
    const int state = atomic_load(&s->given.box->state);
    const bool came_up = state != BOX_STARTING && state != BOX_START_FAILED;
    const bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    s->was_up = s->was_up || came_up;
    close(s->lifeline);
    s->lifeline = -1;
    s->child = 0;
    if (s->stops > 0) {
        if (!clean)
            crashed(s, status);
        finish(s, clean ? 0 : 1);
    } else if (WIFEXITED(status) && state == BOX_START_FAILED && !s->was_up) {
        finish(s, 1); /* it has said why */
    } else {
        if (state == BOX_STOPPED && clean)
            log_printf(LOG_WARN, "the server process was stopped, but not through its supervisor");
        else if (state != BOX_START_FAILED)
            crashed(s, status);
        plan_restart(s, came_up);
    }
}

/* Also what others have left to us. */
static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->child)
            child_ended(s, status);
    }
}

/* --- a loop that stands still --- */

static uint64_t still_limit(const struct supervisor *s)
{
    const uint64_t limit = s->settings->watchdog / 2 * 3;

    if (atomic_load(&s->given.box->record.depth) > 0)
        return limit > STILL_MIN_MS ? limit : STILL_MIN_MS;
    if (atomic_load(&s->given.box->beats) == 0)
        return UINT64_MAX; /* it is only starting */
    return limit * 2 > STILL_IDLE_MS ? limit * 2 : STILL_IDLE_MS;
}

static unsigned sample_ms(const struct supervisor *s)
{
    const uint64_t eighth = s->settings->watchdog / 8;

    return eighth < SAMPLE_MIN_MS   ? SAMPLE_MIN_MS
           : eighth > SAMPLE_MAX_MS ? SAMPLE_MAX_MS
                                    : (unsigned)eighth;
}

static void end_still_child(struct supervisor *s)
{
    char what[96];
    struct doing doing;

    read_doing(s, &doing);
    snprintf(what, sizeof(what), "ended the server process: its loop stood still for %llu ms",
             (unsigned long long)s->still_ms);
    tell(LOG_ERROR, what, &doing);
    kill_child(s);
    blame(s, &doing);
}

static void check_still(struct supervisor *s)
{
    const uint64_t now = now_ms(), most = 2 * sample_ms(s);
    const uint64_t steps = atomic_load(&s->given.box->record.steps);
    const uint64_t beats = atomic_load(&s->given.box->beats);
    const uint64_t passed = now - s->seen_ms;

    if (s->settings->watchdog == 0 || s->killed)
        return;
    s->seen_ms = now;
    if (steps != s->steps || beats != s->beats) {
        s->steps = steps;
        s->beats = beats;
        s->still_ms = 0;
        return;
    }
    s->still_ms += passed < most ? passed : most; /* we may have been stopped ourselves */
    if (s->still_ms >= still_limit(s))
        end_still_child(s);
}

/* On its way out, which on a busy machine can take a while: the kernel's PF_EXITING, or reaped
 * soon. */
static bool is_ending(pid_t pid)
{
    enum { EXITING = 4 };
    char path[32], text[512] = "", state = 0;
    unsigned flags = 0;
    const char *rest;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    rest = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
    fclose(file);
    return rest && sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) == 2 &&
           (state == 'Z' || state == 'X' || (flags & EXITING));
}

/* Who closes every descriptor also closes this one; whose code that was cannot be known. */
static void check_closed(struct supervisor *s)
{
    if (!s->closed_ms || s->killed || now_ms() < s->closed_ms + CLOSED_GRACE_MS)
        return;
    if (is_ending(s->child))
        return;
    log_printf(LOG_ERROR, "ended the server process: its descriptors were closed from inside");
    kill_child(s);
}

static void check_stopping(struct supervisor *s)
{
    if (s->stops == 0 || s->killed || now_ms() < s->deadline_ms)
        return;
    log_printf(LOG_ERROR, "ended the server process: it did not stop in time");
    kill_child(s);
}

/* --- signals --- */

static void stop(struct supervisor *s, int number)
{
    const uint64_t time = s->stops ? 0 : s->settings->shutdown_timeout;

    s->stops++;
    s->deadline_ms = now_ms() + time + STOP_GRACE_MS;
    if (s->given.listener >= 0)
        close(s->given.listener); /* else connections would go on waiting in it */
    s->given.listener = -1;
    if (s->child)
        kill(s->child, number);
    else
        finish(s, 0);
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            stop(s, (int)info.ssi_signo);
        else if (info.ssi_signo == SIGHUP && s->child)
            kill(s->child, SIGHUP);
    }
}

static bool open_signals(struct supervisor *s, struct err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&set, numbers[i]);
    reset_action(SIGCHLD); /* ignoring it may have been inherited, and loses exit codes */
    sigprocmask(SIG_BLOCK, &set, &s->before);
    s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->signals >= 0 || err_set(err, "SIGNALS", "signalfd: %s", strerror(errno));
}

/* --- the whole --- */

/* How long there is nothing to look at but what poll() tells; -1: for ever. */
static int pause_ms(const struct supervisor *s)
{
    const uint64_t now = now_ms();

    if (!s->child)
        return s->restart_ms > now ? (int)(s->restart_ms - now) : 0;
    if (s->closed_ms)
        return CLOSED_GRACE_MS;
    return s->settings->watchdog || s->stops ? (int)sample_ms(s) : -1;
}

static void wait_and_look(struct supervisor *s)
{
    struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN},
                           {.fd = s->closed_ms ? -1 : s->lifeline}};

    poll(fds, 2, pause_ms(s));
    take_signals(s);
    reap(s);
    if (s->done || !s->child)
        return;
    if (fds[1].revents && !s->closed_ms)
        s->closed_ms = now_ms();
    check_closed(s);
    check_still(s);
    check_stopping(s);
}

static bool open_all(struct supervisor *s, struct err *err)
{
    s->given.port = s->settings->port;
    s->given.listener = http_bind_tcp(s->settings->host, &s->given.port, err);
    if (s->given.listener < 0)
        return false;
    s->given.box = blackbox_new(err);
    return s->given.box && open_signals(s, err);
}

static void close_all(struct supervisor *s)
{
    if (s->signals >= 0)
        close(s->signals);
    if (s->given.listener >= 0)
        close(s->given.listener);
    blackbox_free(s->given.box);
    free(s);
}

int supervise(const struct settings *settings,
              int (*serve)(const struct settings *settings, const struct supervised *given))
{
    struct supervisor *s = mem_alloc(sizeof(*s));
    struct err err;
    int code;

    s->settings = settings;
    s->signals = s->lifeline = s->given.listener = -1;
    if (!open_all(s, &err)) {
        log_err(NULL, NULL, &err);
        finish(s, 1);
    }
    while (!s->done) {
        if (!s->child && now_ms() >= s->restart_ms && start_child(s)) {
            const struct supervised given = s->given;
            free(s);
            return serve(settings, &given);
        }
        wait_and_look(s);
    }
    code = s->code;
    close_all(s);
    return code;
}
