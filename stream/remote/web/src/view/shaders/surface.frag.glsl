// The surface's own picture, clay under light, normals as colours, or its grid's lines.
precision highp float;
precision highp int;

uniform sampler2D colours;
uniform int mode; // see MODES in surface.ts
uniform bool hasPicture;

in vec2 uv;
in vec3 eyePosition, eyeNormal;
in vec2 grid;

out vec4 colour;

const vec3 KEY_FROM = vec3(-0.49, 0.57, 0.66), FILL_FROM = vec3(0.88, -0.10, 0.47);
const vec3 KEY = vec3(0.98, 0.94, 0.88), FILL = vec3(0.20, 0.25, 0.32), AMBIENT = vec3(0.045, 0.050, 0.060);
const float CLAY = 0.56, SHEEN = 0.10;
const vec3 LINE = vec3(0.55, 0.86, 0.95), UNDER = vec3(0.055, 0.075, 0.095);

vec3 clay(vec3 normal, vec3 toEye) {
    float key = max(dot(normal, KEY_FROM), 0.0), fill = max(dot(normal, FILL_FROM), 0.0);
    float sheen = SHEEN * pow(max(dot(normal, normalize(KEY_FROM + toEye)), 0.0), 24.0);
    return pow(CLAY * (AMBIENT + KEY * key + FILL * fill) + KEY * sheen, vec3(1.0 / 2.2));
}

// Every `WIRE`th line: all of them would be one to three pixels apart, a surface of one colour.
const float WIRE = 3.0;

vec3 wires(vec3 normal, vec3 toEye) {
    vec2 beside = abs(fract(grid / WIRE - 0.5) - 0.5) * WIRE / max(fwidth(grid), vec2(1e-6));
    float line = 1.0 - smoothstep(0.4, 1.3, min(beside.x, beside.y));
    return mix(UNDER, LINE * (0.35 + 0.65 * abs(dot(normal, toEye))), line);
}

void main() {
    vec3 toEye = -normalize(eyePosition);
    vec3 normal = normalize(eyeNormal);
    vec3 facing = dot(normal, toEye) < 0.0 ? -normal : normal;
    vec3 seen;
    if (mode == 0 && hasPicture) seen = texture(colours, uv).rgb * (gl_FrontFacing ? 1.0 : 0.25);
    else if (mode == 2) seen = normal * 0.5 + 0.5;
    else if (mode == 3) seen = wires(facing, toEye);
    else seen = clay(facing, toEye);
    colour = vec4(seen, 1.0);
}
