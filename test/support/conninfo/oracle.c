/*
 * Asks libpq what a connection string says. One question per line on standard input, each field in hexadecimal:
 *
 *   V                              libpq's version, and the keywords that it knows
 *   P <conninfo>                   what PQconninfoParse answers
 *   R <conninfo> [<NAME=value>]…   what a connection is opened with, in just this environment; that nobody
 *                                  listens there is not an error
 *   W <conninfo> [<NAME=value>]…   the password that it would log in with
 *
 * One answer per line: "+" and "keyword=value" fields, or "-" and the message. libpq is loaded at run time, from
 * the path given as the only argument, so that no header and no particular version is needed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* As libpq has published it since 7.x; its layout is part of the ABI. */
typedef struct {
  char *keyword, *envvar, *compiled, *val, *label, *dispchar;
  int dispsize;
} Option;

static Option *(*parse)(const char *, char **);
static void *(*open_connection)(const char *);
static Option *(*defaults)(void);
static int (*version)(void);
static Option *(*conninfo)(void *);
static char *(*error_message)(void *);
static char *(*password)(void *);
static void (*finish)(void *);

static void print_hex(const char *text) {
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) printf("%02x", *c);
}

static char *from_hex(const char *hex) {
  size_t length = strlen(hex) / 2;
  char *text = malloc(length + 1);
  unsigned byte;
  for (size_t i = 0; i < length; i++) {
    sscanf(hex + 2 * i, "%2x", &byte);
    text[i] = (char)byte;
  }
  text[length] = 0;
  return text;
}

static void answer(Option *options, const char *message) {
  if (options == NULL || (message != NULL && *message)) {
    printf("- ");
    print_hex(message ? message : "");
  } else {
    printf("+");
    for (Option *o = options; o->keyword; o++) {
      if (o->val == NULL) continue;
      printf(" ");
      print_hex(o->keyword);
      printf("3d");
      print_hex(o->val);
    }
  }
  printf("\n");
  fflush(stdout);
}

int main(int argc, char **argv) {
  void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
  if (library == NULL) {
    fprintf(stderr, "%s\n", argc > 1 ? dlerror() : "give the path of libpq");
    return 1;
  }
  parse = dlsym(library, "PQconninfoParse");
  open_connection = dlsym(library, "PQconnectdb");
  defaults = dlsym(library, "PQconndefaults");
  version = dlsym(library, "PQlibVersion");
  conninfo = dlsym(library, "PQconninfo");
  error_message = dlsym(library, "PQerrorMessage");
  password = dlsym(library, "PQpass");
  finish = dlsym(library, "PQfinish");
  char *line = NULL;
  size_t size = 0;
  while (getline(&line, &size, stdin) > 0) {
    line[strcspn(line, "\n")] = 0;
    char kind = line[0];
    if (kind == 'V') {
      printf("%d", version());
      for (Option *o = defaults(); o->keyword; o++) printf(" %s", o->keyword);
      printf("\n");
      fflush(stdout);
      continue;
    }
    char *rest = line + 2;
    char *first = strsep(&rest, " ");
    char *text = from_hex(first ? first : "");
    if (kind == 'P') {
      char *message = NULL;
      Option *options = parse(text, &message);
      answer(options, message);
    } else {
      static char *none[] = {NULL};
      environ = none;
      for (char *field; (field = strsep(&rest, " ")) != NULL;) putenv(from_hex(field));
      void *connection = open_connection(text);
      const char *message = error_message(connection);
      if (kind == 'W') {
        printf("+ ");
        print_hex("password=");
        print_hex(password(connection));
        printf("\n");
        fflush(stdout);
      } else {
        answer(conninfo(connection), strstr(message, "Is the server running") ? NULL : message);
      }
      finish(connection);
    }
    free(text);
  }
  return 0;
}
