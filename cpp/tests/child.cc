#include "child.h"

#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

namespace tdse {
namespace {

constexpr unsigned kLimitSeconds = 10;

}  // namespace

std::string InChild(const std::function<std::string()>& work) {
  int ends[2];
  CHECK_EQUAL(pipe(ends), 0);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(kLimitSeconds);
    const std::string text = work();
    const bool written =
        write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    // Not exit(): what the parent opened and registered is not the child's to close.
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char part[512];
  for (ssize_t n; (n = read(ends[0], part, sizeof(part))) > 0;) {
    text.append(part, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  return status == 0 ? text : "ended with status " + std::to_string(status);
}

}  // namespace tdse
