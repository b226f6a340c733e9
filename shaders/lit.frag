#version 330 core
// Grey clay under a warm key light and a cool fill, fixed to the eye; both sides of the surface are lit.

const vec3 KEY_FROM = normalize(vec3(-0.55, -0.65, -0.75));
const vec3 FILL_FROM = normalize(vec3(0.85, 0.10, -0.45));
const vec3 KEY = vec3(0.98, 0.94, 0.88);
const vec3 FILL = vec3(0.20, 0.25, 0.32);
const vec3 AMBIENT = vec3(0.045, 0.050, 0.060);
const vec3 CLAY = vec3(0.56);
const float SHEEN = 0.10;

in vec3 eye_position;
in vec3 eye_normal;

out vec4 colour;

void main() {
    vec3 to_eye = -normalize(eye_position);
    vec3 normal = normalize(eye_normal);
    normal = dot(normal, to_eye) < 0.0 ? -normal : normal;
    float key = max(dot(normal, KEY_FROM), 0.0);
    float fill = max(dot(normal, FILL_FROM), 0.0);
    float sheen = SHEEN * pow(max(dot(normal, normalize(KEY_FROM + to_eye)), 0.0), 24.0);
    vec3 light = CLAY * (AMBIENT + KEY * key + FILL * fill) + KEY * sheen;
    colour = vec4(pow(light, vec3(1.0 / 2.2)), 1.0);
}
