#include "stderr_capture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <sstream>

#include "process_mark.h"

namespace tdse {
namespace {

constexpr char kErrorPrefix[] = "ERROR: ";
constexpr const char* kOtherPrefixes[] = {"VERBOSE: ", "DEBUG: ", "INFO: ", "WARNING: "};

bool StartsWith(const std::string& line, const std::string& prefix) {
  return line.compare(0, prefix.size(), prefix) == 0;
}

bool IsChatter(const std::string& line) {
  for (const char* prefix : kOtherPrefixes) {
    if (StartsWith(line, prefix)) return true;
  }
  return false;
}

std::string ReadAll(int file) {
  std::string text;
  char part[4096];
  off_t offset = 0;
  for (ssize_t n; (n = pread(file, part, sizeof(part), offset)) > 0; offset += n) {
    text.append(part, static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

StderrCapture::StderrCapture() : lock_(ProcessMutex()) {
  std::fflush(stderr);
  standard_error_ = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  if (standard_error_ < 0) return;
  memory_ = memfd_create("tdse-stderr", MFD_CLOEXEC);
  if (memory_ < 0 || dup2(memory_, STDERR_FILENO) < 0) {
    if (memory_ >= 0) close(memory_);
    close(standard_error_);
    memory_ = standard_error_ = -1;
  }
}

StderrCapture::~StderrCapture() { End(); }

std::string StderrCapture::Errors() {
  End();
  return errors_;
}

void StderrCapture::End() {
  if (memory_ < 0) return;
  std::fflush(stderr);
  dup2(standard_error_, STDERR_FILENO);
  std::istringstream lines(ReadAll(memory_));
  close(standard_error_);
  close(memory_);
  memory_ = standard_error_ = -1;
  for (std::string line; std::getline(lines, line);) {
    if (StartsWith(line, kErrorPrefix)) {
      if (!errors_.empty()) errors_ += "; ";
      errors_ += line.substr(sizeof(kErrorPrefix) - 1);
    } else if (!IsChatter(line)) {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
  }
}

}  // namespace tdse
