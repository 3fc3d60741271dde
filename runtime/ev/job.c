/* Jobs on libuv's thread pool. The request that libuv wants lives beside the job, not in it. */
#include "ev/loop_impl.h"

#include <stdlib.h>

#include "base/mem.h"

struct job_run {
    uv_work_t work;
    struct loop *loop;
    struct job *job;
};

static void on_work(uv_work_t *work)
{
    struct job_run *run = (struct job_run *)work;
    run->job->work(run->job);
}

static void on_done(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    struct job_run *run = (struct job_run *)work;
    struct job *job = run->job;
    run->loop->jobs_open--;
    free(run);
    job->impl = NULL;
    job->done(job);
}

void loop_submit(struct loop *loop, struct job *job)
{
    struct job_run *run = mem_alloc(sizeof(*run));
    run->loop = loop;
    run->job = job;
    job->impl = run;
    loop->jobs_open++;
    uv_queue_work(&loop->uv, &run->work, on_work, on_done); /* fails only without a callback */
}
