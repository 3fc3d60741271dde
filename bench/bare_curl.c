/* bare_curl URL SECONDS CONNECTIONS: what libcurl alone can ask of a server, the yardstick for
 * fetch.
 *
 * One thread, handles that are used again, nothing done with the answers. Prints requests and
 * seconds of CPU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <curl/curl.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static size_t ignore(char *at, size_t one, size_t len, void *arg)
{
    (void)at;
    (void)arg;
    return one * len;
}

static void start(CURLM *multi, const char *url)
{
    CURL *easy = curl_easy_init();

    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
    curl_multi_add_handle(multi, easy);
}

/* Starts those that have an answer anew. */
static unsigned long restart(CURLM *multi)
{
    unsigned long count = 0;
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(multi, &left))) {
        CURL *easy = message->easy_handle;
        if (message->data.result != CURLE_OK) {
            fprintf(stderr, "%s\n", curl_easy_strerror(message->data.result));
            exit(1);
        }
        curl_multi_remove_handle(multi, easy);
        curl_multi_add_handle(multi, easy);
        count++;
    }
    return count;
}

int main(int argc, char **argv)
{
    CURLM *multi = curl_multi_init();
    unsigned long count = 0;
    int running;

    if (argc != 4)
        return 2;
    for (int i = 0; i < atoi(argv[3]); i++)
        start(multi, argv[1]);
    for (const double end = now() + atof(argv[2]); now() < end;) {
        curl_multi_perform(multi, &running);
        count += restart(multi);
        curl_multi_poll(multi, NULL, 0, 100, &running);
    }
    printf("%lu %f\n", count, cpu_seconds());
    return 0;
}
