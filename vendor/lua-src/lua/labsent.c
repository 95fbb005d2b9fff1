/*
** The libraries that are left out: whoever opens one gets an error.
** mlua refers to them; the engine does not open them.
*/

#define labsent_c
#define LUA_LIB

#include "lua.h"

#include "lauxlib.h"
#include "lualib.h"


static int absent (lua_State *L) {
  return luaL_error(L, "this library is left out");
}


LUALIB_API int luaopen_io (lua_State *L) { return absent(L); }
LUALIB_API int luaopen_os (lua_State *L) { return absent(L); }
LUALIB_API int luaopen_debug (lua_State *L) { return absent(L); }
LUALIB_API int luaopen_package (lua_State *L) { return absent(L); }
LUALIB_API void luaL_openlibs (lua_State *L) { absent(L); }
