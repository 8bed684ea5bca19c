/* The one function of bcryptprimitives.dll that Rust's standard library asks for, which wine 8 lacks: without it every
   Rust program ends at its start, silently, with status 53. For tests under wine only, never shipped. */

#include <windows.h>
#include <ntsecapi.h> /* RtlGenRandom is SystemFunction036 of advapi32.dll. */

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved)
{
    return TRUE;
}

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    return RtlGenRandom(data, (ULONG)length);
}
