/* The program: which command, its flags, its exit code. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/suggest.h"

struct command {
    const char *name, *usage, *what;
    int (*run)(struct invocation *in);
};

static int command_help(struct invocation *in);
static int command_version(struct invocation *in);

static const struct command commands[] = {
    {"serve", "serve [flags]", "serve the plugins (the default)", command_serve},
    {"dev", "dev [flags]", "serve, and reload what changes on disk", command_dev},
    {"check", "check [DIR…] [flags]",
     "validate manifests of plugins and apps, compile the Lua, resolve dependencies and bases",
     command_check},
    {"test", "test [DIR…] [flags]", "run the *_spec.lua of plugins and apps", command_test},
    {"run", "run DIR METHOD PATH [-d BODY] [-H 'K: V'] [flags]",
     "answer one request in process, without a port", command_run},
    {"new", "new NAME [--mode persistent|serverless|spa] [flags]", "write a plugin to start from",
     command_new},
    {"health", "health [flags]", "ask the running server whether it is ready", command_health},
    {"version", "version", "print the version", command_version},
    {"help", "help", "print this", command_help},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static int command_version(struct invocation *in)
{
    (void)in;
    printf("buntime %s\n", BUNTIME_VERSION);
    return 0;
}

static int command_help(struct invocation *in)
{
    struct buf flags = {0};

    (void)in;
    printf("buntime: a Lua-scripted plugin runtime\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  buntime %s\n      %s\n", commands[i].usage, commands[i].what);
    settings_help(&flags);
    printf("\nFlags win over the environment variables that they are named after:\n\n%s",
           flags.data ? flags.data : "");
    buf_fini(&flags);
    return 0;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *known[COMMAND_COUNT + 1] = {0};
    const char *near;

    for (size_t i = 0; i < COMMAND_COUNT; i++)
        known[i] = commands[i].name;
    near = suggest(name, known);
    fprintf(stderr, "buntime: unknown command \"%s\"%s%s%s\n", name,
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "; see buntime help");
    return 2;
}

static int usage(const struct command *command)
{
    struct buf flags = {0};

    settings_help(&flags);
    printf("buntime %s\n  %s\n\n%s", command->usage, command->what, flags.data ? flags.data : "");
    buf_fini(&flags);
    return 0;
}

static bool asks_for_help(char *const *words)
{
    for (; *words && strcmp(*words, "--") != 0; words++) {
        if (strcmp(*words, "--help") == 0 || strcmp(*words, "-h") == 0)
            return true;
    }
    return false;
}

static void print_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->len; i++) {
        char *text = problem_text(&problems->items[i]);
        fprintf(stderr, "buntime: %s\n", text);
        free(text);
    }
}

/* Takes `--mode X` or `--mode=X`, which is `new`'s own, out of the words; NULL: not given. */
static const char *take_mode(char **words)
{
    const char *mode = NULL;
    char **to = words;

    for (; *words; words++) {
        if (strcmp(*words, "--mode") == 0 && words[1])
            mode = *++words;
        else if (strncmp(*words, "--mode=", 7) == 0)
            mode = *words + 7;
        else
            *to++ = *words;
    }
    *to = NULL;
    return mode;
}

static int run(const struct command *command, char **words)
{
    struct settings settings = {0};
    struct problems problems = {0};
    struct invocation in = {.settings = &settings};
    int code = 2;
    size_t count = 0;

    if (command->run == command_new)
        in.mode = take_mode(words);
    while (words[count])
        count++;
    in.words = mem_alloc((count + 1) * sizeof(*in.words));
    if (settings_load(&settings, words, in.words, &problems)) {
        while (in.words[in.count])
            in.count++;
        log_setup(settings.log_level, settings.log_format);
        code = command->run(&in);
    }
    print_problems(&problems);
    problems_fini(&problems);
    settings_fini(&settings);
    free(in.words);
    return code;
}

int main(int argc, char **argv)
{
    const bool named = argc > 1 && argv[1][0] != '-';
    const char *name = named                                           ? argv[1]
                       : argc > 1 && strcmp(argv[1], "--version") == 0 ? "version"
                       : argc > 1 && strcmp(argv[1], "--help") == 0    ? "help"
                                                                       : "serve";
    const struct command *command = find_command(name);
    char **words = argv + (named ? 2 : 1);

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file over a limit is an error of its write */
    if (strcmp(name, "worker") == 0)
        return command_worker();
    if (!command)
        return unknown_command(name);
    if (strcmp(name, "version") == 0 || strcmp(name, "help") == 0)
        return command->run(NULL);
    if (asks_for_help(words))
        return usage(command);
    return run(command, words);
}
