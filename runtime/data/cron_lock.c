#include "data/cron_lock.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "data/redis.h"
#include "data/redis_value.h"
#include "ev/loop.h"

/* KEYS: the schedule's last time, its lease. ARGV: the replica, the time, how long the first is
 * kept and the second, in ms ("" without a lease). The first is "TIME REPLICA".
 */
static const char claim_script[] =
    "local last = redis.call('get', KEYS[1]) "
    "if last then "
    "local due, who = last:match('^(-?%d+) (.*)$') "
    "due = tonumber(due) or 0 "
    "if due > tonumber(ARGV[2]) or due == tonumber(ARGV[2]) and who ~= ARGV[1] then "
    "return 'taken' end end "
    "redis.call('set', KEYS[1], ARGV[2] .. ' ' .. ARGV[1], 'px', ARGV[3]) "
    "if ARGV[4] ~= '' then "
    "local holder = redis.call('get', KEYS[2]) "
    "if holder and holder ~= ARGV[1] then return 'busy' end "
    "redis.call('set', KEYS[2], ARGV[1], 'px', ARGV[4]) end "
    "return 'mine'";

/* Nobody else's lease is touched. */
static const char keep_script[] =
    "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('pexpire', KEYS[1], ARGV[2]) "
    "else redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2], 'nx') end return 'ok'";

static const char end_script[] =
    "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end return 'ok'";

#define KEPT_MS "604800000" /* a week: longer than any replica stands still */

struct cron_locks {
    struct cron_locks_options options;
    char *replica;
};

/* --- scripts --- */

static void put_script(struct redis_request *request, const char *script, unsigned arguments)
{
    request->count = 1;
    redis_put_command(&request->commands, arguments + 2);
    redis_put_argument(&request->commands, STR("EVAL"));
    redis_put_argument(&request->commands, str_of(script));
}

static void put(struct redis_request *request, const char *text)
{
    redis_put_argument(&request->commands, str_of(text));
}

static void put_key(struct redis_request *request, const char *kind, const char *key)
{
    char *whole = mem_printf("buntime:%s:%s", kind, key);

    put(request, whole);
    free(whole);
}

static void put_number(struct redis_request *request, int64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)number);
    put(request, text);
}

/* --- claims --- */

struct cron_claim {
    struct redis_request request; /* first: answered() casts back */
    cron_claimed *done;           /* NULL: cancelled */
    void *arg;
    char problem[128]; /* with CRON_UNKNOWN */
};

static enum cron_verdict read_verdict(struct cron_claim *claim)
{
    const struct redis_request *request = &claim->request;
    struct redis_value reply;

    if (!request->ok) {
        snprintf(claim->problem, sizeof(claim->problem), "%.127s", request->error.message);
        return CRON_UNKNOWN;
    }
    redis_get(request->replies.data, &reply);
    if (reply.type == REDIS_STRING && str_equal(reply.bytes, STR("mine")))
        return CRON_MINE;
    if (reply.type == REDIS_STRING && str_equal(reply.bytes, STR("taken")))
        return CRON_TAKEN;
    if (reply.type == REDIS_STRING && str_equal(reply.bytes, STR("busy")))
        return CRON_BUSY;
    if (reply.type == REDIS_ERROR)
        snprintf(claim->problem, sizeof(claim->problem), "%.*s",
                 reply.bytes.len < 127 ? (int)reply.bytes.len : 127, reply.bytes.at);
    return CRON_UNKNOWN;
}

static void answered(struct redis_request *request)
{
    struct cron_claim *claim = (struct cron_claim *)request;
    const enum cron_verdict verdict = read_verdict(claim);

    if (claim->done)
        claim->done(claim->arg, verdict, claim->problem);
    redis_request_fini(request);
    free(claim);
}

struct cron_claim *cron_claim_start(struct cron_locks *locks,
                                    const struct cron_time *time,
                                    cron_claimed *done,
                                    void *arg)
{
    struct cron_claim *claim = mem_alloc(sizeof(*claim));
    struct redis_request *request = &claim->request;

    claim->done = done;
    claim->arg = arg;
    put_script(request, claim_script, 7);
    put_number(request, 2);
    put_key(request, "cron", time->key);
    put_key(request, "cron.running", time->key);
    put(request, locks->replica);
    put_number(request, time->due);
    put(request, KEPT_MS);
    if (time->overlap)
        put(request, "");
    else
        put_number(request, CRON_LEASE_MS);
    request->done = answered;
    redis_submit(locks->options.redis, request);
    return claim;
}

void cron_claim_cancel(struct cron_claim *claim)
{
    claim->done = NULL;
    redis_cancel(&claim->request);
}

/* --- leases --- */

struct cron_lease {
    struct timer timer; /* first: keep() casts back */
    struct cron_locks *locks;
    char *key;
};

/* Nobody waits for the outcome: a lease that could not be kept ends. */
static void told(struct redis_request *request)
{
    redis_request_fini(request);
    free(request);
}

static struct redis_request *
new_request(const struct cron_lease *lease, const char *script, unsigned arguments)
{
    struct redis_request *request = mem_alloc(sizeof(*request));

    request->done = told;
    put_script(request, script, arguments);
    put_number(request, 1);
    put_key(request, "cron.running", lease->key);
    put(request, lease->locks->replica);
    return request;
}

static void keep(struct timer *timer)
{
    struct cron_lease *lease = (struct cron_lease *)timer;
    struct redis_request *request = new_request(lease, keep_script, 4);

    put_number(request, CRON_LEASE_MS);
    redis_submit(lease->locks->options.redis, request);
    timer_start(lease->locks->options.loop, timer, CRON_LEASE_MS / 3);
}

struct cron_lease *cron_lease_keep(struct cron_locks *locks, const char *key)
{
    struct cron_lease *lease = mem_alloc(sizeof(*lease));

    lease->timer.fire = keep;
    lease->locks = locks;
    lease->key = mem_copy(key);
    timer_start(locks->options.loop, &lease->timer, CRON_LEASE_MS / 3);
    return lease;
}

void cron_lease_end(struct cron_lease *lease)
{
    timer_stop(&lease->timer);
    redis_submit(lease->locks->options.redis, new_request(lease, end_script, 3));
    free(lease->key);
    free(lease);
}

/* --- the whole --- */

struct cron_locks *cron_locks_new(const struct cron_locks_options *options)
{
    struct cron_locks *locks = mem_alloc(sizeof(*locks));

    locks->options = *options;
    locks->replica = mem_copy(options->replica);
    return locks;
}

void cron_locks_free(struct cron_locks *locks)
{
    if (!locks)
        return;
    free(locks->replica);
    free(locks);
}
