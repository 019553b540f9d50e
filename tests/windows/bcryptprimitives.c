/* Wine 8 has no bcryptprimitives.dll, which Rust's standard library takes random bytes from. This one stands
 * beside lf.exe in the tests alone; Windows has its own. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length)
{
    return SystemFunction036(bytes, (ULONG)length);
}
