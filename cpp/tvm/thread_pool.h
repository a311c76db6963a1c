// The number of threads that TVM's kernels use on the calling thread.
#ifndef TDSE_TVM_THREAD_POOL_H_
#define TDSE_TVM_THREAD_POOL_H_

namespace tdse {

// Lets kernels called from this thread run on `threads` threads. TVM keeps a pool for each calling
// thread; nothing is done, and no pool made, while the number stays what it was, 1 at first.
//
// Throws std::runtime_error for more than one where the pool is there but its workers are not:
// because the calling thread made it and then forked this process.
void UseTvmThreads(int threads);

}  // namespace tdse

#endif  // TDSE_TVM_THREAD_POOL_H_
