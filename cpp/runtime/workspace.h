// Memory that compiled kernels ask for while they run, where TVM's runtime is not there to give it.
#ifndef TDSE_RUNTIME_WORKSPACE_H_
#define TDSE_RUNTIME_WORKSPACE_H_

namespace tdse {

// Tells the kernels of a library, a handle of dlopen, where to ask.
void GiveWorkspace(void* library);

// Throws std::runtime_error if they need something else of TVM's runtime, as those for devices do.
void RequireNoMoreThanWorkspace(void* library);

}  // namespace tdse

#endif  // TDSE_RUNTIME_WORKSPACE_H_
