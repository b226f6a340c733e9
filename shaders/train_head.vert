#version 330
// A head of the synthetic face engine: passes everything on; units mm, camera frame.
uniform mat4 view;
in vec3 position; in vec3 normal; in vec4 photo; in vec4 mirror; in vec3 tint; in vec2 cover; in vec2 uv;
out vec3 at; out vec3 facing; out vec4 v_photo; out vec4 v_mirror; out vec3 v_tint; out float v_open;
out vec2 v_uv;
flat out float v_part;
void main() {
    at = position; facing = normal; v_photo = photo; v_mirror = mirror; v_tint = tint;
    v_open = cover.x; v_part = cover.y; v_uv = uv;
    gl_Position = view * vec4(position, 1.0);
}
