// Keeps what a library prints on standard error away from the user.
#ifndef TDSE_EXECUTOR_STDERR_CAPTURE_H_
#define TDSE_EXECUTOR_STDERR_CAPTURE_H_

#include <mutex>
#include <string>

namespace tdse {

// While it lives, standard error goes to memory: LiteRT prints there why it refuses a model, which
// it says nowhere else, and a line for each delegate that it makes, which cannot be turned off.
//
// When it ends, all that is not LiteRT's is printed after all, so that nothing of other threads is
// lost. If standard error is closed, nothing is captured. There is one capture at a time: others,
// and fork(), wait.
class StderrCapture {
 public:
  StderrCapture();
  ~StderrCapture();
  StderrCapture(const StderrCapture&) = delete;
  StderrCapture& operator=(const StderrCapture&) = delete;

  // Ends the capture. The lines that LiteRT printed as errors, joined by "; ".
  std::string Errors();

 private:
  void End();

  std::unique_lock<std::mutex> lock_;
  int memory_ = -1;
  int standard_error_ = -1;
  std::string errors_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_STDERR_CAPTURE_H_
